-- Which backend of a model is asked next, and what is known of each.
--
-- A backend is "well"; "slow": it takes requests, but nothing has come from it for a while; "silent": it does not answer at
-- all; or "gone": nothing listens there. The prober says so (health.lua); a request that fails says it earlier.

local cells = require "slipway.cells"
local gauges = require "slipway.gauges"
local journal = require "slipway.journal"

local M = {}

local dict = ngx.shared.slipway_health
local RANK = {well = 0, slow = 1, failed = 2, silent = 3, gone = 3}
local REST_S = 15
local BUSY_S = 1
local NOTED_S = 0.2

function M.state(id)
    return dict:get("s|" .. id) or "well"
end

function M.set(id, state)
    local before = M.state(id)
    if before ~= state then
        dict:set("s|" .. id, state)
        dict:set("e|" .. id, ngx.now())
        journal.say(state == "well" and ngx.NOTICE or ngx.WARN, "backend ", id, " is ", state)
    end
end

-- Whether a backend has been silent for so long.
function M.silent_for(id, seconds)
    return M.state(id) == "silent" and ngx.now() - (dict:get("e|" .. id) or 0) >= seconds
end

-- A backend failed a request; it is left alone for a while, as far as there are others.
function M.failed(id)
    dict:set("f|" .. id, true, REST_S)
end

-- Something came from a backend, for a client's connection, which `connection()` tells. To note it now and then is enough; the
-- difference may be negative where the clock was set.
local noted = {}

function M.heard(id, now, connection)
    if math.abs(now - (noted[id] or 0)) > NOTED_S then
        noted[id] = now
        dict:set("l|" .. id, now)
        local last, its = dict:get("c|" .. id), connection()
        dict:set("c|" .. id, its, BUSY_S)
        if last and last ~= its then
            dict:set("o|" .. id, true, BUSY_S)
        end
    end
end

function M.last_heard(id)
    return dict:get("l|" .. id) or 0
end

local function rank(id)
    local found = RANK[M.state(id)]
    return (found == 0 and dict:get("f|" .. id)) and RANK.failed or found
end

-- Whether there is one among them that is well and was not tried.
function M.another(backends, tried)
    for _, backend in ipairs(backends) do
        if not tried[backend.id] and rank(backend.id) < RANK.failed then
            return true
        end
    end
    return false
end

-- One that was not tried yet, or nil.
--
-- Weights share the requests out over what a name stands for; among the replicas of one it is that with the fewest requests.
-- Weight 0 comes when there is no other.
function M.choose(backends, tried)
    if #backends == 1 then
        return not tried[backends[1].id] and backends[1] or nil
    end
    local best, left = math.huge, {}
    for _, backend in ipairs(backends) do
        if not tried[backend.id] then
            local its = rank(backend.id)
            if its < best then
                best, left = its, {}
            end
            if its == best then
                left[#left + 1] = backend
            end
        end
    end
    local total = 0
    for _, backend in ipairs(left) do
        total = total + backend.weight
    end
    local group
    if total > 0 then
        local drawn = math.random() * total
        for _, backend in ipairs(left) do
            drawn = drawn - backend.weight
            if backend.weight > 0 then
                group = backend.group
                if drawn <= 0 then
                    break
                end
            end
        end
    end
    local chosen, fewest = nil, math.huge
    for _, backend in ipairs(left) do
        if total == 0 or (backend.group == group and backend.weight > 0) then
            local busy = gauges.get("backend|" .. backend.id) + math.random() * 0.5
            if busy < fewest then
                chosen, fewest = backend, busy
            end
        end
    end
    return chosen
end

-- Requests that may have taken their backend down.

local TOGETHER_S = 5
local SUSPECTED_S = 120

-- A backend was lost under a request of a client's connection. others: whether it had other requests. Returns whether this
-- one was there alone: of several that are lost together, none is known to be to blame. One that comes among others' is not
-- alone either, though they had just been answered.
function M.lost(id, others, connection)
    local last = dict:get("c|" .. id)
    local together = others or dict:get("d|" .. id) or dict:get("o|" .. id) or (last ~= nil and last ~= connection)
    dict:set("d|" .. id, true, TOGETHER_S)
    return not together
end

-- A request was alone on a backend that was lost; returns how often that is so of late.
function M.suspect(fingerprint)
    cells.values[cells.SUSPECTED_UNTIL] = ngx.now() + SUSPECTED_S
    return dict:incr("x|" .. fingerprint, 1, 0, SUSPECTED_S)
end

-- Whether there are suspects at all, and how often a request was one.
function M.suspects(now)
    return now < cells.values[cells.SUSPECTED_UNTIL]
end

function M.suspected(fingerprint)
    return dict:get("x|" .. fingerprint) or 0
end

return M
