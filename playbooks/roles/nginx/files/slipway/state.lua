-- What the front says of itself to the machine that it runs on: which files are in use, how the backends are, figures.

local balance = require "slipway.balance"
local cjson = require "cjson"
local counters = require "slipway.counters"
local files = require "slipway.files"
local gauges = require "slipway.gauges"
local usage = require "slipway.usage"

local M = {}

local function backends()
    local found, routes = {}, files.content("routes")
    for id in pairs(routes and routes.backends or {}) do
        found[id] = {state = balance.state(id), requests = gauges.get("backend|" .. id)}
    end
    return found
end

-- 200 when the files in use are those whose digests the query names, and none was refused.
function M.state()
    local state, agreed = files.state(), true
    local wanted = ngx.req.get_uri_args(10)
    local told = {backends = backends()}
    if counters.there() then
        told.shared_limits = counters.away() and "away" or "well"
    end
    for name, one in pairs(state) do
        told[name] = {sha256 = one.digest or cjson.null, refused = one.refused or cjson.null}
        agreed = agreed and not one.refused and (not wanted[name] or wanted[name] == one.digest)
    end
    local text = cjson.encode(told)
    ngx.status = agreed and 200 or 503
    ngx.header["Content-Type"] = "application/json"
    ngx.print(text)
end

-- Whether the front can answer at all.
function M.health()
    local ready = files.content("routes") ~= nil and files.content("teams") ~= nil
    local text = ready and '{"status":"ok"}' or '{"status":"starting"}'
    ngx.status = ready and 200 or 503
    ngx.header["Content-Type"] = "application/json"
    ngx.header["Content-Length"] = #text
    ngx.print(text)
    ngx.eof()
end

-- Figures for Prometheus.
function M.metrics()
    local lines = {"# HELP slipway_backend_up Whether a backend is well.", "# TYPE slipway_backend_up gauge"}
    local requests = {"# HELP slipway_backend_requests Requests in flight on a backend.",
        "# TYPE slipway_backend_requests gauge"}
    for id, one in pairs(backends()) do
        lines[#lines + 1] = ('slipway_backend_up{backend="%s"} %d'):format(id, one.state == "well" and 1 or 0)
        requests[#requests + 1] = ('slipway_backend_requests{backend="%s"} %d'):format(id, one.requests)
    end
    for _, line in ipairs(requests) do
        lines[#lines + 1] = line
    end
    if counters.there() then
        lines[#lines + 1] = "# HELP slipway_counters_up Whether the fronts share their limits' counters."
        lines[#lines + 1] = "# TYPE slipway_counters_up gauge"
        lines[#lines + 1] = "slipway_counters_up " .. (counters.away() and 0 or 1)
    end
    ngx.header["Content-Type"] = "text/plain; version=0.0.4"
    ngx.print(usage.metrics(lines))
end

return M
