-- Counts of what runs at this moment, over all workers: requests of a team, the money they may cost, requests on a backend.
--
-- Every worker keeps its own part beside the whole, so that what a killed worker held can be given back. Nobody else counts
-- there, so it is a cell (`cells.lua`): a dictionary costs ten times as much, for every count of every request.

local cells = require "slipway.cells"
local counts = require "slipway.counts"

local M = {}

local dict = ngx.shared.slipway_gauges
local counted = counts.of(dict)
local PID_PREFIX = "pid|"

local function mine(pid, name)
    return "w|" .. pid .. "|" .. name
end

-- The cell of this worker's part of a gauge; false where there is none, and what it held would be lost with it.
local function cell_of(name)
    local its = mine(ngx.worker.pid(), name)
    local cell = dict:get(its) or cells.take()
    if cell then
        dict:set(its, cell)
    end
    return cell or false
end

-- Where a gauge is kept: this worker's part, and the whole. Made once; there are as many as teams and backends.
local places = setmetatable({}, {__index = function(known, name)
    local found = {cell = cell_of(name), whole = "g|" .. name}
    known[name] = found
    return found
end})

local function count_own(place, count)
    local values, cell = cells.values, place.cell
    if cell then
        values[cell] = values[cell] + count
    end
end

-- A worker says that it is there.
function M.register()
    dict:set(PID_PREFIX .. ngx.worker.pid(), true)
end

-- Count one up, or a whole number of them; returns how many there are.
function M.enter(name, count)
    local place = places[name]
    count_own(place, count or 1)
    return counted(place.whole, count or 1)
end

-- Count as many down; returns how many are left.
function M.leave(name, count)
    local place = places[name]
    count_own(place, -(count or 1))
    local left = counted(place.whole, -(count or 1))
    if left and left < 0 then
        dict:set(place.whole, 0)
    end
    return left or 0
end

-- How many there are.
function M.get(name)
    return dict:get(places[name].whole) or 0
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
                        local cell = dict:get(other)
                        local held = cells.values[cell]
                        if held ~= 0 then
                            cells.values[cell] = 0
                            dict:incr("g|" .. other:sub(#prefix + 1), -held, 0)
                        end
                        dict:delete(other)
                        cells.give(cell)
                    end
                end
                dict:delete(key)
            end
        end
    end
end

return M
