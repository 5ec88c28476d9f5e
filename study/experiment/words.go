package experiment

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"brood/internal/stats"
)

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func numbers[T any](list []T) string {
	words := make([]string, len(list))
	for i, x := range list {
		words[i] = fmt.Sprint(x)
	}
	return strings.Join(words, ", ")
}

// updates writes "1 update", "1 and 5 updates", "1, 2 and 5 updates".
func updates(list []int64) string {
	last := list[len(list)-1]
	if len(list) == 1 {
		return plural(int(last), "update")
	}
	return fmt.Sprintf("%s and %d updates", numbers(list[:len(list)-1]), last)
}

// joined lists the distinct words of the results, in their order.
func joined(results []Result, of func(*Result) string) string {
	var words []string
	for i := range results {
		if w := of(&results[i]); !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	return strings.Join(words, "; ")
}

// formatInterval writes "1.2 [0.3, 2.1]"; "-" without any values.
func formatInterval(i stats.Interval, decimals int) string {
	if math.IsNaN(i.Mean) {
		return "-"
	}
	return fmt.Sprintf("%s [%s, %s]", fixed(i.Mean, decimals), fixed(i.Low, decimals), fixed(i.High, decimals))
}

// fixed writes x with so many decimals, and 0 without a sign.
func fixed(x float64, decimals int) string {
	if s := fmt.Sprintf("%.*f", decimals, x); s != "-"+fmt.Sprintf("%.*f", decimals, 0.0) {
		return s
	}
	return fmt.Sprintf("%.*f", decimals, 0.0)
}

// decided marks an interval that does not contain 0.
func decided(i stats.Interval, text string) string {
	if i.Low > 0 || i.High < 0 {
		return "**" + text + "**"
	}
	return text
}
