-- What of each limit is one front's, and what all fronts have used of it, as far as this one knows.

local counters = require "slipway.counters"
local limits = require "slipway.limits"

local M = {}

local MOST = 1e15

-- The limits of a team, in the order of the numbers that `scripts.lua` gives them.
M.LIMITS = {"tokens_per_month", "parallel_requests", "requests_per_minute", "tokens_per_minute"}

-- Whether a team has any.
function M.limited(team)
    for _, name in ipairs(M.LIMITS) do
        if team[name] then
            return true
        end
    end
    return false
end

local function fronts()
    local settings = counters.settings()
    return settings and settings.fronts or 2
end

-- The team with the part of its limits that is this front's.
function M.of(team)
    local share = setmetatable({}, {__index = team})
    for _, name in ipairs(M.LIMITS) do
        share[name] = team[name] and math.max(1, math.floor(team[name] / fronts()))
    end
    return share
end

-- Keep the part of what all have used that counts against this front's share. As long as the counters may not know all of
-- what this front admitted, that is no less than before.
function M.mirror(team, now, requests, tokens, month)
    local function part(used)
        return used and math.ceil(used / fronts())
    end
    limits.set(team, now, part(requests), part(tokens), part(month), counters.away())
end

-- A whole number as the scripts take it.
function M.number(value)
    return value and ("%d"):format(math.min(value, MOST)) or ""
end

-- Under which name what this front counted itself in this month is kept.
function M.own_key(team, now)
    return "o|" .. team .. "|" .. limits.month(now)
end

return M
