-- Counts of what runs at this moment, over all workers: requests of a team, the money they may cost, requests on a backend.
--
-- Every worker keeps its own part beside the whole, so that what a killed worker held can be given back.

local M = {}

local dict = ngx.shared.slipway_gauges
local PID_PREFIX = "pid|"

local function mine(pid, name)
    return "w|" .. pid .. "|" .. name
end

-- A worker says that it is there.
function M.register()
    dict:set(PID_PREFIX .. ngx.worker.pid(), true)
end

-- Count one up, or a whole number of them; returns how many there are.
function M.enter(name, count)
    dict:incr(mine(ngx.worker.pid(), name), count or 1, 0)
    return dict:incr("g|" .. name, count or 1, 0)
end

-- Count as many down.
function M.leave(name, count)
    dict:incr(mine(ngx.worker.pid(), name), -(count or 1), 0)
    local left = dict:incr("g|" .. name, -(count or 1), 0)
    if left and left < 0 then
        dict:set("g|" .. name, 0)
    end
end

-- How many there are.
function M.get(name)
    return dict:get("g|" .. name) or 0
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
