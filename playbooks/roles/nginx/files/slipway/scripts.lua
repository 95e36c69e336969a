-- What the counters' server runs for the fronts (Valkey's and Redis' EVAL): each script as a whole or not at all, so that two
-- fronts cannot both have the last of something. Minutes are those of the server's clock, so the fronts' clocks do not matter.
--
-- Keys: slipway|r|TEAM|MINUTE requests, slipway|t|TEAM|MINUTE tokens, slipway|d|TEAM the last minute that went beyond the limit of
-- its tokens (see `limits.lua`); slipway|m|TEAM|MONTH tokens and
-- slipway|c|TEAM|MONTH|CURRENCY money that each front counted (hashes: each writes its own part alone, and it never falls);
-- slipway|p|TEAM the requests that run (a sorted set: until when each counts, which its front extends; what a lost front held
-- ends by itself), slipway|a|TEAM what is set aside for them (a hash: of each request, and the sums); slipway|i|ID that a request
-- is counted, so that it is not counted twice where the answer did not arrive in time.
--
-- Arguments that may be missing are empty. Money is in billionths, which a number here holds up to nine million.

local M = {}

local COMMON = [[
local now = tonumber(redis.call("TIME")[1])
local minute = math.floor(now / 60)
local LEASE_S, NOTED_S, KEPT_S, MONTH_S = 15, 30, 180, 40 * 86400
local MOST_DEBT_MINUTES, DEBT_KEPT_S = 60, 62 * 60

local function key(kind, team, period)
    return "slipway|" .. kind .. "|" .. team .. "|" .. period
end

local function requests_of(team)
    return tonumber(redis.call("GET", key("r", team, minute))) or 0
end

-- What a minute that begins so many after another still has to pay of what that one, with its own debt, went beyond the limit.
local function debt(used, limit, minutes)
    return math.max(0, math.min(used - limit, MOST_DEBT_MINUTES * limit) - (minutes - 1) * limit)
end

local function tokens_of(team, limit)
    local this = key("t", team, minute)
    local used = tonumber(redis.call("GET", this))
    if not used then
        local last = minute - 1
        local before = tonumber(redis.call("GET", key("t", team, last)))
        if not before then
            -- Whatever came between went beyond nothing, so its debt says all.
            last = tonumber(redis.call("GET", "slipway|d|" .. team))
            before = last and last < minute and tonumber(redis.call("GET", key("t", team, last)))
        end
        used = before and debt(before, limit, minute - last) or 0
        redis.call("SET", this, used, "EX", KEPT_S)
    end
    return used
end

-- Count tokens in a minute, and keep one that went beyond the limit for as long as it may be owed.
local function count_tokens(team, its, by, limit)
    local this, last = key("t", team, its), "slipway|d|" .. team
    local used = redis.call("INCRBY", this, by)
    if used > limit then
        redis.call("EXPIRE", this, DEBT_KEPT_S)
        if (tonumber(redis.call("GET", last)) or 0) <= its then
            redis.call("SET", last, its, "EX", DEBT_KEPT_S)
        end
    end
    return used
end

-- Change what a minute used, where it is still known; what later ones that have begun have to pay of it changes too.
local function change_tokens(team, its, by, limit)
    if redis.call("EXISTS", key("t", team, its)) == 0 then
        return
    end
    local after = count_tokens(team, its, by, limit)
    local before = after - by
    for at = its + 1, minute do
        if redis.call("EXISTS", key("t", team, at)) == 1 then
            local more = debt(after, limit, at - its) - debt(before, limit, at - its)
            if more == 0 then
                return
            end
            after = count_tokens(team, at, more, limit)
            before, its = after - more, at
        end
    end
end

local function spent_of(kind, team, period)
    local total = 0
    for _, part in ipairs(redis.call("HVALS", key(kind, team, period))) do
        total = total + part
    end
    return total
end

local function spend(kind, team, period, front, own)
    local this = key(kind, team, period)
    if tonumber(own) > (tonumber(redis.call("HGET", this, front)) or 0) then
        redis.call("HSET", this, front, own)
        redis.call("EXPIRE", this, MONTH_S)
    end
end

-- What one front used in a month: tokens, and money where the team has a currency.
local function spend_both(team, month, front, tokens, currency, money)
    spend("m", team, month, front, tokens)
    if currency ~= "" then
        spend("c", team, month .. "|" .. currency, front, money)
    end
end

local function count_requests(team, number)
    local this = key("r", team, minute)
    local count = redis.call("INCRBY", this, number)
    redis.call("EXPIRE", this, KEPT_S)
    return count
end

local function note(id)
    redis.call("SET", "slipway|i|" .. id, 1, "EX", NOTED_S)
end

-- A request does not run any more.
local function drop(team, id)
    local asides = "slipway|a|" .. team
    redis.call("ZREM", "slipway|p|" .. team, id)
    local amounts = redis.call("HGET", asides, id)
    if amounts then
        local tokens, money = amounts:match("(%d+) (%d+)")
        redis.call("HDEL", asides, id)
        -- Taken from nothing, since the negative of a zero is no integer here.
        redis.call("HINCRBY", asides, "tokens", 0 - tokens)
        redis.call("HINCRBY", asides, "money", 0 - money)
    end
end

-- A request runs, for LEASE_S unless it is said again. tokens, money: to set aside.
local function hold(team, id, tokens, money)
    local asides = "slipway|a|" .. team
    redis.call("ZADD", "slipway|p|" .. team, now + LEASE_S, id)
    redis.call("EXPIRE", "slipway|p|" .. team, 2 * LEASE_S)
    if tokens == "" and money == "" then
        return
    end
    tokens, money = tokens == "" and "0" or tokens, money == "" and "0" or money
    if redis.call("HSETNX", asides, id, tokens .. " " .. money) == 1 then
        redis.call("HINCRBY", asides, "tokens", tokens)
        redis.call("HINCRBY", asides, "money", money)
    end
    redis.call("EXPIRE", asides, 2 * LEASE_S)
end

-- Forget the requests of which nothing was heard.
local function forget(team)
    for _, id in ipairs(redis.call("ZRANGEBYSCORE", "slipway|p|" .. team, "-inf", now)) do
        drop(team, id)
    end
end

-- Whether a limit of a month leaves nothing for a request, or not enough (see `limits.lua`).
local function exceeded(team, what, limit, spent, wanted)
    if wanted == 0 then
        return false
    end
    local aside = tonumber(redis.call("HGET", "slipway|a|" .. team, what)) or 0
    return spent + aside + (wanted or 0) > limit or not wanted and spent >= limit
end
]]

-- team, the request's id, month, currency; tokens per month, money per month, parallel requests, requests per minute, tokens per
-- minute (each empty for no limit); tokens of the minute to reserve, tokens and money of the month to set aside -> {0, or the
-- number of the limit that refuses it (see shares.lua), requests and tokens of this minute, the minute, seconds that are left of
-- it, what was spent of a limit of the month that refuses it}
M.admit = COMMON .. [[
local team, id, month, currency = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local monthly, money, parallel = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local per_minute, limit, wanted = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local requests = per_minute and requests_of(team) or 0
local used = limit and tokens_of(team, limit) or 0
local refused, spent = 0, 0
if redis.call("EXISTS", "slipway|i|" .. id) == 1 then
    return {0, requests, used, minute, (minute + 1) * 60 - now, 0}
end
forget(team)
if monthly then
    spent = spent_of("m", team, month)
    refused = exceeded(team, "tokens", monthly, spent, tonumber(ARGV[11])) and 1 or 0
end
if refused == 0 and money then
    spent = spent_of("c", team, month .. "|" .. currency)
    refused = exceeded(team, "money", money, spent, tonumber(ARGV[12])) and 2 or 0
end
if refused == 0 and parallel and redis.call("ZCARD", "slipway|p|" .. team) >= parallel then
    refused = 3
end
if refused == 0 and per_minute and requests >= per_minute then
    refused = 4
end
-- A request that is larger than the whole limit runs alone, and the minutes after pay for it.
if refused == 0 and limit and used > 0 and used + wanted > limit then
    refused = 5
end
if refused == 0 then
    note(id)
    if monthly or money or parallel then
        hold(team, id, ARGV[11], ARGV[12])
    end
    if per_minute then
        requests = count_requests(team, 1)
    end
    if limit then
        used = count_tokens(team, minute, wanted, limit)
    end
end
return {refused, requests, used, minute, (minute + 1) * 60 - now, spent}
]]

-- A request that a front admitted by itself, while this server was away: team, the request's id, its minute, tokens that it
-- reserved, tokens per minute (empty for no limit), tokens and money of the month to set aside. It may be over; then that is
-- told next.
M.count = COMMON .. [[
local team, id, its, reserved, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if redis.call("EXISTS", "slipway|i|" .. id) == 1 then
    return
end
note(id)
hold(team, id, ARGV[6], ARGV[7])
if its == minute then
    count_requests(team, 1)
    if limit then
        tokens_of(team, limit)
    end
end
if limit then
    change_tokens(team, its, reserved, limit)
end
]]

-- A request is over: team, the request's id, its minute, by how much it took more tokens than were reserved, tokens per minute
-- (empty for no limit), month, the front, tokens that the front counted in this month, currency, money that it counted.
M.settle = COMMON .. [[
local team, id, its, more, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
drop(team, id)
if limit and more ~= 0 then
    if its ~= minute and more > 0 then
        -- Its minute is over: what it took beyond the reservation counts now.
        its = minute
    end
    if its == minute then
        tokens_of(team, limit)
    end
    change_tokens(team, its, more, limit)
end
spend_both(team, unpack(ARGV, 6))
]]

-- Requests that still run: team, and of each its id, tokens and money that are set aside for it.
M.renew = COMMON .. [[
for at = 2, #ARGV, 3 do
    hold(ARGV[1], ARGV[at], ARGV[at + 1], ARGV[at + 2])
end
]]

-- What all fronts counted: month, the front, and for each team its name, tokens per minute (empty for no limit), and what the
-- front counted in this month: tokens, currency, money -> {minute, and for each team: requests and tokens of the minute, tokens
-- and money of the month}
M.follow = COMMON .. [[
local month, front, told = ARGV[1], ARGV[2], {minute}
for at = 3, #ARGV, 5 do
    local team, limit, currency = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 3]
    spend_both(team, month, front, ARGV[at + 2], currency, ARGV[at + 4])
    told[#told + 1] = requests_of(team)
    told[#told + 1] = limit and tokens_of(team, limit) or 0
    told[#told + 1] = spent_of("m", team, month)
    told[#told + 1] = currency ~= "" and spent_of("c", team, month .. "|" .. currency) or 0
end
return told
]]

return M
