-- Where fronts share their counts: what of each limit is one front's, what all have used as far as this one knows, and what
-- this one used itself, as the scripts of the counters (`scripts.lua`) take it.

local counters = require "slipway.counters"
local limits = require "slipway.limits"

local M = {}

-- Up to which a number of Lua is exact, and "%d" writes it.
local MOST = 9e15
local OWN = "o"

-- The limits of a team, in the order of the numbers that `scripts.lua` gives them.
M.LIMITS = {"tokens_per_month", "money_per_month", "parallel_requests", "requests_per_minute", "tokens_per_minute"}

-- Whether a team has any.
function M.limited(team)
    for _, name in ipairs(M.LIMITS) do
        if team[name] then
            return true
        end
    end
    return false
end

-- How many fronts share the counts.
function M.fronts()
    local settings = counters.settings()
    return settings and settings.fronts or 2
end

-- The team with the part of its limits that is this front's.
function M.of(team)
    local share = setmetatable({}, {__index = team})
    for _, name in ipairs(M.LIMITS) do
        local limit = team[name]
        if type(limit) == "table" then
            share[name] = {amount = math.floor(limit.amount / M.fronts()), currency = limit.currency}
        else
            share[name] = limit and math.max(1, math.floor(limit / M.fronts()))
        end
    end
    return share
end

-- Keep the part of what all have used that counts against this front's share; counts: as `limits.set` takes them. As long as
-- the counters may not know all of what this front admitted, that is no less than before.
function M.mirror(team, now, counts)
    for name, used in pairs(counts) do
        if name ~= "currency" then
            counts[name] = math.ceil(used / M.fronts())
        end
    end
    limits.set(team, now, counts, counters.away())
end

-- A whole number as the scripts take it; nothing for nil.
function M.number(value)
    return value and ("%d"):format(math.min(value, MOST)) or ""
end

-- What the scripts are to set aside for a request: tokens and money of the month; nothing where its team has no such limit, or
-- nothing is known of it.
function M.asides(held)
    local team, whole = held.team, held.may and held.may.whole or {}
    return M.number(team.tokens_per_month and whole.tokens_per_month), M.number(team.money_per_month and whole.money_per_month)
end

-- The currency of a team's money, or nothing.
function M.currency(team)
    return team.money_per_month and team.money_per_month.currency or ""
end

-- Count what this front used itself in this month.
function M.spend(team, used, now)
    limits.spend(team, used, now, OWN)
end

-- What that is by now: tokens, the currency (or nothing), and money.
function M.spent(team, now)
    local dict, currency = ngx.shared.slipway_limits, M.currency(team)
    local tokens = dict:get(limits.month_key("tokens_per_month", team.name, now, nil, OWN)) or 0
    local money = currency ~= "" and dict:get(limits.month_key("money_per_month", team.name, now, currency, OWN)) or 0
    return M.number(tokens), currency, M.number(money)
end

return M
