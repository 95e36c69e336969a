-- Looks after the backends, and after gateways where there is more than one: which are there, which have fallen silent.
--
-- One worker does it for all. Every half a second every backend is asked for its health, which costs nothing; a generation
-- is asked for where health says too little: when requests are in flight and nothing has come from the backend for a while,
-- and before one that was out comes back. One that is full may keep that generation waiting as well: then its own count of
-- what it has computed, where it keeps one, tells whether it works.

local balance = require "slipway.balance"
local cjson = require "cjson"
local files = require "slipway.files"
local gauges = require "slipway.gauges"
local http = require "slipway.http"

local M = {}

local dict = ngx.shared.slipway_health
local EVERY_S = 0.5
local HEALTH_S = 0.7
-- A gateway's one process may be held up by the answers that it reads.
local GATEWAY_S = 2
local QUIET_S = 1
-- How long a generation may take, and after how much silence requests leave a backend; longer where nothing but its answers
-- tells that it works.
local COUNTED = {generation_s = 0.9, silent_after_s = 8}
local UNCOUNTED = {generation_s = 5, silent_after_s = 20}
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
    -- A gateway asks for no key here.
    if backend.key and not backend.gateway then
        found["authorization"] = "Bearer " .. backend.key
    end
    return found
end

-- "well", "silent" or "gone".
local function health(backend)
    local request = {method = "GET", path = backend.health, headers = headers(backend)}
    local answer, kind = http.ask(backend, request, within(backend.gateway and GATEWAY_S or HEALTH_S))
    if not answer then
        return (kind == "silent") and "silent" or "gone"
    end
    answer:close()
    return answer.status < 500 and "well" or "gone"
end

-- How much it has computed so far, by its own count; nil where it does not say.
local function computed(backend)
    if not backend.progress then
        return nil
    end
    local request = {method = "GET", path = backend.progress.path, headers = headers(backend)}
    local answer = http.ask(backend, request, within(HEALTH_S))
    local text = answer and answer:whole(4194304)
    if answer then
        answer:close()
    end
    local total, counter = nil, backend.progress.counter
    for line in (text or ""):gmatch("[^\n]+") do
        if line:sub(1, #counter) == counter then
            total = (total or 0) + (tonumber(line:match("%s(%S+)$")) or 0)
        end
    end
    return total
end

-- Whether it generates (a token, a vector, a rank), and whether it computes at all, if only for others.
local function works(backend, generation_s)
    if not backend.probe then
        return true, true
    end
    local before = computed(backend)
    local body = cjson.encode(backend.probe.body)
    local request = {method = "POST", path = backend.probe.path, headers = headers(backend), body = body}
    request.headers["content-type"] = "application/json"
    local answer = http.ask(backend, request, within(generation_s))
    local text = answer and answer:whole(1048576)
    if answer then
        answer:close()
    end
    -- A full queue is a sign of life.
    if text and (answer.status < 500 or answer.status == 503) then
        return true, true
    end
    local after = computed(backend)
    return false, before ~= nil and after ~= nil and after > before
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
    local limits = backend.progress and COUNTED or UNCOUNTED
    local function quiet_s()
        return ngx.now() - math.max(balance.last_heard(id), dict:get("b|" .. id) or 0)
    end
    if before == "well" then
        if gauges.get("backend|" .. id) == 0 then
            dict:set("b|" .. id, ngx.now())
            return
        elseif quiet_s() <= QUIET_S then
            return
        end
    end
    local generates, computes = works(backend, limits.generation_s)
    ngx.update_time()
    if computes then
        dict:set("b|" .. id, ngx.now())
    end
    if generates or (computes and before == "well") then
        dict:delete("f|" .. id)
        balance.set(id, "well")
    elseif quiet_s() > limits.silent_after_s then
        balance.set(id, "silent")
    elseif before ~= "silent" or computes then
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
