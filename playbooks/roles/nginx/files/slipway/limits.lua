-- What a team may still use: requests and tokens of the running minute, tokens of the running month, requests at once.
--
-- Minutes and months are those of the clock (UTC). Tokens are reserved when a request begins and settled when it ends, by what
-- the engine says it used. What goes beyond a minute's limit is taken from the next one.

local gauges = require "slipway.gauges"

local M = {}

local dict = ngx.shared.slipway_limits
local MINUTE_S = 60
local FIRST_GUESS = 256
local BYTES_PER_TOKEN = 4

local function minute(now)
    return math.floor(now / MINUTE_S)
end

local function month(now)
    return os.date("!%Y-%m", now)
end

M.minute, M.month = minute, month

local function key(kind, team, period)
    return kind .. "|" .. team .. "|" .. period
end

local function used_tokens(team, now)
    local this = key("t", team.name, minute(now))
    local used = dict:get(this)
    if not used then
        -- What the minute before went beyond its limit.
        local before = dict:get(key("t", team.name, minute(now) - 1)) or 0
        local debt = math.max(0, before - team.tokens_per_minute)
        dict:add(this, debt, 3 * MINUTE_S)
        used = dict:get(this) or debt
    end
    return used
end

-- What an answer takes where the caller does not say how long it may be: what the team's answers of this model took lately.
local function guess(team, model)
    return dict:get(key("e", team.name, model)) or FIRST_GUESS
end

-- The headers that tell a client what is left, as OpenAI's API names them. requests, tokens: used in this minute, which ends in
-- reset_s seconds.
function M.shown(team, requests, tokens, reset_s)
    local found = {}
    if team.requests_per_minute then
        found["x-ratelimit-limit-requests"] = team.requests_per_minute
        found["x-ratelimit-remaining-requests"] = math.max(0, team.requests_per_minute - requests)
        found["x-ratelimit-reset-requests"] = reset_s .. "s"
    end
    if team.tokens_per_minute then
        found["x-ratelimit-limit-tokens"] = team.tokens_per_minute
        found["x-ratelimit-remaining-tokens"] = math.max(0, team.tokens_per_minute - tokens)
        found["x-ratelimit-reset-tokens"] = reset_s .. "s"
    end
    return found
end

local function left_s(now)
    return math.ceil((minute(now) + 1) * MINUTE_S - now)
end

function M.headers(team, now)
    local requests = team.requests_per_minute and dict:get(key("r", team.name, minute(now))) or 0
    return M.shown(team, requests, team.tokens_per_minute and used_tokens(team, now) or 0, left_s(now))
end

local REFUSALS = {
    tokens_per_month = {words = "tokens per month", code = "insufficient_quota"},
    parallel_requests = {words = "requests at the same time", wait_s = 1},
    requests_per_minute = {words = "requests per minute"},
    tokens_per_minute = {words = "tokens per minute"},
}

-- What `admit` says of the limit called `name` that refuses a request. seconds: that are left of the minute.
function M.refused(team, name, seconds)
    local found = REFUSALS[name]
    return {
        name = name, left_s = seconds, limit = team[name] .. " " .. found.words, code = found.code,
        wait_s = not found.code and (found.wait_s or math.max(1, seconds)) or nil,
    }
end

-- The tokens that a request may take, as far as can be known before.
function M.wanted(team, request)
    local prompt = math.ceil(request.bytes / BYTES_PER_TOKEN)
    local answer = request.generates and (request.max_tokens or guess(team, request.model)) or 0
    return math.min(prompt + answer, request.context or math.huge)
end

-- Admit a request of a team.
--
-- request: {model, bytes (of the body), max_tokens (or nil), context (tokens that the model holds, or nil), generates}.
-- Returns what `settle` wants, or nil and {name, limit (in words), wait_s, code, left_s}.
function M.admit(team, request, now)
    local held = {team = team, model = request.model, minute = minute(now), reserved = 0}
    if team.tokens_per_month and (dict:get(key("m", team.name, month(now))) or 0) >= team.tokens_per_month then
        return nil, M.refused(team, "tokens_per_month", left_s(now))
    end
    if team.parallel_requests then
        if gauges.enter("team|" .. team.name) > team.parallel_requests then
            gauges.leave("team|" .. team.name)
            return nil, M.refused(team, "parallel_requests", left_s(now))
        end
        held.parallel = true
    end
    if team.requests_per_minute then
        local mine = key("r", team.name, minute(now))
        if dict:incr(mine, 1, 0, 3 * MINUTE_S) > team.requests_per_minute then
            dict:incr(mine, -1)
            M.release(held)
            return nil, M.refused(team, "requests_per_minute", left_s(now))
        end
        held.counted = mine
    end
    if team.tokens_per_minute then
        local wanted = M.wanted(team, request)
        local used = used_tokens(team, now)
        local mine = key("t", team.name, held.minute)
        -- Counted first and looked at then, so that two at the same time cannot both have the last of it. A request that is
        -- larger than the whole limit runs alone, and the minutes after pay for it.
        local after = dict:incr(mine, wanted, used, 3 * MINUTE_S)
        if after > team.tokens_per_minute and after > wanted then
            dict:incr(mine, -wanted)
            if held.counted then
                dict:incr(held.counted, -1)
            end
            M.release(held)
            return nil, M.refused(team, "tokens_per_minute", left_s(now))
        end
        held.reserved = wanted
    end
    return held
end

-- Give back the place among those that run at the same time.
function M.release(held)
    if held.parallel then
        held.parallel = nil
        gauges.leave("team|" .. held.team.name)
    end
end

-- The tokens that a request took, by what was told. Arguments as of `settle`.
function M.took(held, tokens_in, tokens_out, answered)
    if not tokens_in and not tokens_out and answered then
        return held.reserved
    end
    return (tokens_in or 0) + (tokens_out or 0)
end

-- Remember how long the answer was, for the next one's reservation.
function M.learn(held, tokens_out)
    if held.team.tokens_per_minute and tokens_out then
        local name = key("e", held.team.name, held.model)
        local before = dict:get(name) or tokens_out
        dict:set(name, math.ceil(before * 0.8 + tokens_out * 0.2))
    end
end

-- The request is over. tokens_in, tokens_out: what it took; nil for nothing that was told. answered: something was generated
-- or may have been, so what is not told counts as reserved. Returns the tokens that it took.
function M.settle(held, tokens_in, tokens_out, answered, now)
    M.release(held)
    local team = held.team
    local used = M.took(held, tokens_in, tokens_out, answered)
    if team.tokens_per_minute then
        local mine = key("t", team.name, held.minute)
        if dict:get(mine) then
            dict:incr(mine, used - held.reserved)
        end
        if minute(now) ~= held.minute and used > held.reserved then
            -- Its minute is over: what it took beyond the reservation counts now.
            used_tokens(team, now)
            dict:incr(key("t", team.name, minute(now)), used - held.reserved, 0, 3 * MINUTE_S)
        end
    end
    M.learn(held, tokens_out)
    if team.tokens_per_month and used > 0 then
        dict:incr(key("m", team.name, month(now)), used, 0)
    end
    return used
end

-- What counts as used in this minute and month from now on; nil for what stays. at_least: unless it is more already.
function M.set(team, now, requests, tokens, month_tokens, at_least)
    local function put(name, value, seconds)
        if value and not (at_least and (dict:get(name) or 0) > value) then
            dict:set(name, value, seconds)
        end
    end
    put(key("r", team, minute(now)), requests, 3 * MINUTE_S)
    put(key("t", team, minute(now)), tokens, 3 * MINUTE_S)
    put(key("m", team, month(now)), month_tokens, 0)
end

-- Count what a record of usage says, after a restart.
function M.restore(team, now, time, tokens)
    if minute(time) == minute(now) then
        dict:incr(key("r", team, minute(now)), 1, 0, 3 * MINUTE_S)
        dict:incr(key("t", team, minute(now)), tokens, 0, 3 * MINUTE_S)
    end
    if month(time) == month(now) then
        dict:incr(key("m", team, month(now)), tokens, 0)
    end
end

-- Wrong keys of one address.

local WRONG_PER_MINUTE = 120

-- Count a wrong key; says whether its address brought too many in this minute.
function M.wrong(address, now)
    return (dict:incr(key("x", address, minute(now)), 1, 0, 2 * MINUTE_S) or 0) > WRONG_PER_MINUTE
end

return M
