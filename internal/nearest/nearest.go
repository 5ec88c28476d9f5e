// Package nearest finds what a mistyped word was meant to be.
package nearest

import "strings"

// Word returns the candidate nearest to got, upper and lower case alike, the
// first of equals; empty where more than half of got would have to change.
func Word(got string, candidates []string) string {
	nearest, least := "", len(got)/2+1
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(got), strings.ToLower(c)); d < least {
			nearest, least = c, d
		}
	}
	return nearest
}

// editDistance is the number of bytes to insert, delete or replace to turn a
// into b (Levenshtein 1966), by dynamic programming over one row.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
