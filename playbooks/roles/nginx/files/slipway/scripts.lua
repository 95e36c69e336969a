-- What the counters' server runs for the fronts (Valkey's and Redis' EVAL): each script as a whole or not at all, so that two
-- fronts cannot both have the last of something. Minutes are those of the server's clock, so the fronts' clocks do not matter.
--
-- Keys: slipway|r|TEAM|MINUTE requests, slipway|t|TEAM|MINUTE tokens, slipway|m|TEAM|MONTH what each front counted (a hash:
-- each writes its own part alone, and it never falls), slipway|p|TEAM the requests that run (a sorted set: until when each
-- counts, which its front extends; what a lost front held ends by itself), slipway|i|ID that a request is counted, so that it is
-- not counted twice where the answer did not arrive in time.

local M = {}

local COMMON = [[
local now = tonumber(redis.call("TIME")[1])
local minute = math.floor(now / 60)
local LEASE_S, NOTED_S, KEPT_S, MONTH_S = 15, 30, 180, 40 * 86400

local function key(kind, team, period)
    return "slipway|" .. kind .. "|" .. team .. "|" .. period
end

local function requests_of(team)
    return tonumber(redis.call("GET", key("r", team, minute))) or 0
end

local function tokens_of(team, limit)
    local this = key("t", team, minute)
    local used = tonumber(redis.call("GET", this))
    if not used then
        -- What the minute before went beyond its limit.
        used = math.max(0, (tonumber(redis.call("GET", key("t", team, minute - 1))) or 0) - limit)
        redis.call("SET", this, used, "EX", KEPT_S)
    end
    return used
end

local function month_of(team, month)
    local total = 0
    for _, part in ipairs(redis.call("HVALS", key("m", team, month))) do
        total = total + part
    end
    return total
end

local function count_month(team, month, front, own)
    local this = key("m", team, month)
    if own > (tonumber(redis.call("HGET", this, front)) or 0) then
        redis.call("HSET", this, front, own)
        redis.call("EXPIRE", this, MONTH_S)
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

local function hold(team, id)
    redis.call("ZADD", "slipway|p|" .. team, now + LEASE_S, id)
    redis.call("EXPIRE", "slipway|p|" .. team, 2 * LEASE_S)
end
]]

-- team, the request's id, month, requests per minute, tokens per minute, parallel requests, tokens per month (each empty for
-- no limit), tokens to reserve -> {0, or the number of the limit that refuses it (see quota.lua), requests and tokens of this
-- minute, the minute, seconds that are left of it}
M.admit = COMMON .. [[
local team, id, month, wanted = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[8])
local per_minute, limit, parallel, monthly = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local requests = per_minute and requests_of(team) or 0
local used = limit and tokens_of(team, limit) or 0
local refused = 0
local counted = redis.call("EXISTS", "slipway|i|" .. id) == 1
if counted then
    return {0, requests, used, minute, (minute + 1) * 60 - now}
end
if monthly and month_of(team, month) >= monthly then
    refused = 1
end
if refused == 0 and parallel then
    redis.call("ZREMRANGEBYSCORE", "slipway|p|" .. team, "-inf", now)
    if redis.call("ZCARD", "slipway|p|" .. team) >= parallel then
        refused = 2
    end
end
if refused == 0 and per_minute and requests >= per_minute then
    refused = 3
end
-- A request that is larger than the whole limit runs alone, and the minutes after pay for it.
if refused == 0 and limit and used > 0 and used + wanted > limit then
    refused = 4
end
if refused == 0 then
    note(id)
    if parallel then
        hold(team, id)
    end
    if per_minute then
        requests = count_requests(team, 1)
    end
    if limit then
        used = redis.call("INCRBY", key("t", team, minute), wanted)
    end
end
return {refused, requests, used, minute, (minute + 1) * 60 - now}
]]

-- A request that a front admitted by itself, while this server was away: team, the request's id, its minute, tokens that it
-- reserved, tokens per minute (empty for no limit).
M.count = COMMON .. [[
local team, id, its, reserved, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if redis.call("EXISTS", "slipway|i|" .. id) == 1 then
    return
end
note(id)
if its == minute then
    count_requests(team, 1)
    if limit then
        tokens_of(team, limit)
    end
end
if limit and redis.call("EXISTS", key("t", team, its)) == 1 then
    redis.call("INCRBY", key("t", team, its), reserved)
end
]]

-- A request is over: team, the request's id, its minute, by how much it took more tokens than were reserved, tokens per minute (empty
-- for no limit), month, the front, tokens that the front counted in this month.
M.settle = COMMON .. [[
local team, id, its, more, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
redis.call("ZREM", "slipway|p|" .. team, id)
if limit and more ~= 0 then
    if its ~= minute and more > 0 then
        -- Its minute is over: what it took beyond the reservation counts now.
        its = minute
    end
    if its == minute then
        tokens_of(team, limit)
    end
    if redis.call("EXISTS", key("t", team, its)) == 1 then
        redis.call("INCRBY", key("t", team, its), more)
    end
end
count_month(team, ARGV[6], ARGV[7], tonumber(ARGV[8]))
]]

-- Requests that still run: team, their ids.
M.renew = COMMON .. [[
for number = 2, #ARGV do
    hold(ARGV[1], ARGV[number])
end
]]

-- What all fronts counted: month, the front, and for each team its name, tokens per minute (empty for no limit) and what the
-- front counted in this month -> {minute, and for each team: requests, tokens, tokens of the month}
M.follow = COMMON .. [[
local month, front, told = ARGV[1], ARGV[2], {minute}
for at = 3, #ARGV, 3 do
    local team, limit = ARGV[at], tonumber(ARGV[at + 1])
    count_month(team, month, front, tonumber(ARGV[at + 2]))
    told[#told + 1] = requests_of(team)
    told[#told + 1] = limit and tokens_of(team, limit) or 0
    told[#told + 1] = month_of(team, month)
end
return told
]]

return M
