-- Counts of what runs at this moment, over all workers: requests of a team, the money they may cost, requests on a backend.
--
-- Every worker keeps its own part beside the whole, so that what a killed worker held can be given back.

local M = {}

local dict = ngx.shared.slipway_gauges
local PID_PREFIX = "pid|"

local function mine(pid, name)
    return "w|" .. pid .. "|" .. name
end

-- Under which names a gauge is kept: this worker's part, and the whole. Made once; there are as many as teams and backends.
local names = setmetatable({}, {__index = function(known, name)
    local found = {mine(ngx.worker.pid(), name), "g|" .. name}
    known[name] = found
    return found
end})

-- A worker says that it is there.
function M.register()
    dict:set(PID_PREFIX .. ngx.worker.pid(), true)
end

-- Count one up, or a whole number of them; returns how many there are.
function M.enter(name, count)
    local kept = names[name]
    dict:incr(kept[1], count or 1, 0)
    return dict:incr(kept[2], count or 1, 0)
end

-- Count as many down; returns how many are left.
function M.leave(name, count)
    local kept = names[name]
    dict:incr(kept[1], -(count or 1), 0)
    local left = dict:incr(kept[2], -(count or 1), 0)
    if left and left < 0 then
        dict:set(kept[2], 0)
    end
    return left or 0
end

-- How many there are.
function M.get(name)
    return dict:get(names[name][2]) or 0
end

-- Give back what workers held that are gone.
function M.sweep()
    for _, key in ipairs(dict:get_keys(0)) do
        local pid = key:match("^pid|(%d+)$")
        if pid then
            local alive = io.open("/proc/" .. pid .. "/stat", "r")
            if alive then
                alive:close()
            else
                local prefix = mine(pid, "")
                for _, other in ipairs(dict:get_keys(0)) do
                    if other:sub(1, #prefix) == prefix then
                        local held = dict:get(other) or 0
                        if held ~= 0 then
                            dict:incr("g|" .. other:sub(#prefix + 1), -held, 0)
                        end
                        dict:delete(other)
                    end
                end
                dict:delete(key)
            end
        end
    end
end

return M
