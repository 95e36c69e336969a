// Package figures sums up what was measured.
package figures

import (
	"math"
	"slices"
)

// Summary is what is reported of a list of seconds; all but the count are nil where there was none.
type Summary struct {
	Count int      `json:"count"`
	P50   *float64 `json:"p50_ms"`
	P90   *float64 `json:"p90_ms"`
	P99   *float64 `json:"p99_ms"`
	Max   *float64 `json:"max_ms"`
}

// Of sums up seconds as milliseconds; it sorts them.
func Of(seconds []float32) Summary {
	slices.Sort(seconds)
	return Summary{
		Count: len(seconds),
		P50:   Percentile(seconds, 50),
		P90:   Percentile(seconds, 90),
		P99:   Percentile(seconds, 99),
		Max:   Percentile(seconds, 100),
	}
}

// Percentile is the smallest of sorted seconds that so many percent of them do not exceed, in milliseconds; nil of none.
func Percentile(sorted []float32, percent float64) *float64 {
	if len(sorted) == 0 {
		return nil
	}
	rank := int(math.Ceil(percent / 100 * float64(len(sorted))))
	found := math.Round(float64(sorted[max(rank, 1)-1])*1e6) / 1e3
	return &found
}
