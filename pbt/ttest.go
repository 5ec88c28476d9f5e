package pbt

import "brood/internal/stats"

// significance is the level of the t-test: 5% (Jaderberg et al. 2017, section 4.1).
const significance = 0.05

// significantlyBetter reports whether the mean of the other's returns is better
// than the member's and the difference unlikely to be chance.
func (c *Config) significantlyBetter(other, member *Member) bool {
	t, _, p := stats.Welch(other.Returns, member.Returns)
	if c.MetricMode == Min {
		t = -t
	}
	return t > 0 && p < significance // false for NaN: too few returns
}
