module slipway/bench/gateway

// The standard library alone: nothing is fetched.
go 1.22
