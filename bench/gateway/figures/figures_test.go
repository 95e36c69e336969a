package figures

import "testing"

func TestPercentilesAreOnesThatWereMeasured(t *testing.T) {
	hundred := make([]float32, 100)
	for i := range hundred {
		hundred[i] = float32(100-i) / 1000
	}
	found := Of(hundred)
	if *found.P50 != 50 || *found.P90 != 90 || *found.P99 != 99 || *found.Max != 100 || found.Count != 100 {
		t.Errorf("of 1 to 100 ms: %v %v %v %v, %d", *found.P50, *found.P90, *found.P99, *found.Max, found.Count)
	}
}

func TestFewAreTheirOwnPercentiles(t *testing.T) {
	found := Of([]float32{0.003, 0.001, 0.002})
	if *found.P50 != 2 || *found.P99 != 3 {
		t.Errorf("of 1, 2 and 3 ms: %v and %v", *found.P50, *found.P99)
	}
	one := Of([]float32{0.007})
	if *one.P50 != 7 || *one.P99 != 7 {
		t.Errorf("of 7 ms: %v and %v", *one.P50, *one.P99)
	}
}

func TestOfNothingThereIsNoPercentile(t *testing.T) {
	found := Of(nil)
	if found.Count != 0 || found.P50 != nil || found.P99 != nil || found.Max != nil {
		t.Errorf("of nothing: %+v", found)
	}
}
