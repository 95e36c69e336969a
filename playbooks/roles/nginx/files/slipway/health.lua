-- Looks after the backends: which are there, which have fallen silent.
--
-- One worker does it for all. Once a second every backend is asked for its health, which costs nothing; a generation is asked
-- for where health says too little: when requests are in flight and nothing has come from the backend for a while, and
-- before one that was out comes back.

local balance = require "slipway.balance"
local cjson = require "cjson"
local files = require "slipway.files"
local gauges = require "slipway.gauges"
local http = require "slipway.http"

local M = {}

local dict = ngx.shared.slipway_health
local EVERY_S = 0.5
local HEALTH_S = 0.9
local QUIET_S = 1.5
local GENERATION_S = 5
local SILENT_AFTER_S = 20
local LEADER_S = 3

local running = {}

local function within(seconds)
    local ends = ngx.now() + seconds
    return function()
        ngx.update_time()
        return (ngx.now() > ends or ngx.worker.exiting()) and "late" or nil
    end
end

local function headers(backend)
    local found = {["accept"] = "application/json", ["connection"] = "close", ["user-agent"] = "slipway-probe"}
    if backend.key then
        found["authorization"] = "Bearer " .. backend.key
    end
    return found
end

-- "well", "silent" or "gone".
local function health(backend)
    local request = {method = "GET", path = backend.health, headers = headers(backend)}
    local answer, kind = http.ask(backend, request, within(HEALTH_S))
    if not answer then
        return (kind == "silent") and "silent" or "gone"
    end
    answer:close()
    return answer.status < 500 and "well" or "gone"
end

-- Whether it generates: a token, a vector, a rank.
local function generates(backend)
    if not backend.probe then
        return true
    end
    local body = cjson.encode(backend.probe.body)
    local request = {method = "POST", path = backend.probe.path, headers = headers(backend), body = body}
    request.headers["content-type"] = "application/json"
    local answer = http.ask(backend, request, within(GENERATION_S))
    if not answer then
        return false
    end
    local text = answer:whole(1048576)
    answer:close()
    -- A full queue is a sign of life.
    return text ~= nil and (answer.status < 500 or answer.status == 503)
end

local function look(backend)
    local id = backend.id
    local before = balance.state(id)
    local found = health(backend)
    if found == "silent" and before == "well" then
        -- Twice, so that a pause of the network is no reason.
        found = health(backend)
    end
    if found ~= "well" then
        balance.set(id, found)
        return
    end
    local now = ngx.now()
    local busy = gauges.get("backend|" .. id) > 0
    local quiet_s = now - math.max(balance.last_heard(id), dict:get("b|" .. id) or 0)
    if before == "well" then
        if not busy then
            dict:set("b|" .. id, now)
        elseif quiet_s > QUIET_S then
            if generates(backend) then
                dict:set("b|" .. id, ngx.now())
            else
                balance.set(id, "slow")
            end
        end
        return
    end
    if generates(backend) then
        dict:set("b|" .. id, ngx.now())
        dict:delete("f|" .. id)
        balance.set(id, "well")
    elseif quiet_s > SILENT_AFTER_S then
        balance.set(id, "silent")
    elseif before ~= "silent" then
        balance.set(id, "slow")
    end
end

local function tend(backend)
    local ok, fault = pcall(look, backend)
    if not ok then
        ngx.log(ngx.ERR, "cannot look after backend ", backend.id, ": ", fault)
    end
    running[backend.id] = nil
end

-- Whether this worker looks after the backends: the first that says so, for as long as it goes on.
local function leads()
    local pid = ngx.worker.pid()
    local holder = dict:get("leader")
    if holder ~= pid and not dict:add("leader", pid, LEADER_S) then
        return false
    end
    dict:set("leader", pid, LEADER_S)
    return true
end

-- For a timer, every half a second.
function M.tick(premature)
    if premature or ngx.worker.exiting() then
        return
    end
    if leads() then
        gauges.sweep()
        local routes = files.content("routes")
        for id, backend in pairs(routes and routes.backends or {}) do
            if not running[id] then
                running[id] = true
                ngx.timer.at(0, function() tend(backend) end)
            end
        end
    end
end
M.EVERY_S = EVERY_S

return M
