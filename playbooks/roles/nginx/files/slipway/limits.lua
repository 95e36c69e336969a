-- What a team may still use: requests and tokens of the running minute, tokens and money of the running month, requests at
-- once.
--
-- Minutes and months are those of the clock (UTC). Tokens and money are reserved when a request begins and settled when it
-- ends, by what the engine says it used. What goes beyond a minute's limit is taken from the next one. Money is not overdrawn:
-- who has less left than a request may cost is refused.

local gauges = require "slipway.gauges"
local money = require "slipway.money"

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

-- The headers that tell a client what is left, as OpenAI's API names them. held: of the request just admitted, or nil.
local function headers(team, now, held)
    local found, reset = {}, math.ceil((minute(now) + 1) * MINUTE_S - now)
    if team.requests_per_minute then
        local used = held and held.requests or dict:get(key("r", team.name, minute(now))) or 0
        found["x-ratelimit-limit-requests"] = team.requests_per_minute
        found["x-ratelimit-remaining-requests"] = math.max(0, team.requests_per_minute - used)
        found["x-ratelimit-reset-requests"] = reset .. "s"
    end
    if team.tokens_per_minute then
        found["x-ratelimit-limit-tokens"] = team.tokens_per_minute
        found["x-ratelimit-remaining-tokens"] = math.max(0, team.tokens_per_minute
            - (held and held.tokens or used_tokens(team, now)))
        found["x-ratelimit-reset-tokens"] = reset .. "s"
    end
    return found
end
M.headers = headers

-- Tokens that a request may take: of its prompt and of its answer.
local function expected(team, request)
    local most = request.context or math.huge
    local prompt = math.min(math.ceil(request.bytes / BYTES_PER_TOKEN), most)
    local answer = request.generates and (request.max_tokens or guess(team, request.model)) or 0
    return prompt, math.min(answer, most - prompt)
end

-- Where it is counted what a team spent. One in another currency is another count.
local function spent_key(team, now, currency)
    return key("c", team, month(now) .. "|" .. currency)
end

-- Set aside what a request may cost; returns nil, or why it is refused.
local function set_aside(held, team, request, now)
    local limit = team.money_per_month
    local prompt, answer = expected(team, request)
    local wanted = request.price and money.cost(request.price, prompt, answer) or 0
    local name = "money|" .. team.name
    -- What runs is looked at before what was spent: who ends meanwhile counts in both, and never in neither.
    local aside = gauges.enter(name, wanted)
    held.aside = wanted
    held.prompt_aside = request.price and money.cost(request.price, prompt, 0) or 0
    local spent = dict:get(spent_key(team.name, now, limit.currency)) or 0
    if spent + aside <= limit.amount and (request.price or spent < limit.amount) or request.price and wanted == 0 then
        return nil
    end
    local words = ("%.14g %s per month"):format(money.units(limit.amount), limit.currency)
    if spent >= limit.amount then
        return {limit = words, code = "insufficient_quota"}
    elseif spent + wanted > limit.amount then
        return {limit = words, code = "insufficient_quota", message = ("The team %s has %.14g %s left of its %s, and this "
            .. "request may cost %.14g %s. Ask for a shorter answer (max_tokens)."):format(team.name,
            money.units(limit.amount - spent), limit.currency, words, money.units(wanted), limit.currency)}
    end
    return {limit = words, wait_s = 1, message = ("What is left to the team %s of its %s is set aside for requests that run. "
        .. "Try again in 1 s."):format(team.name, words)}
end

-- Admit a request of a team.
--
-- request: {model, bytes (of the body), max_tokens (or nil), context (tokens that the model holds, or nil), generates,
-- price (or nil)}.
-- Returns what `settle` wants, or nil and {limit (in words), wait_s, code, message (where these words do not tell it)}.
function M.admit(team, request, now)
    local held = {team = team, model = request.model, minute = minute(now), reserved = 0}
    local wait_s = math.max(1, math.ceil((minute(now) + 1) * MINUTE_S - now))
    if team.tokens_per_month and (dict:get(key("m", team.name, month(now))) or 0) >= team.tokens_per_month then
        return nil, {limit = team.tokens_per_month .. " tokens per month", code = "insufficient_quota", wait_s = nil}
    end
    local refused = team.money_per_month and set_aside(held, team, request, now)
    if refused then
        M.release(held)
        return nil, refused
    end
    if team.parallel_requests then
        if gauges.enter("team|" .. team.name) > team.parallel_requests then
            gauges.leave("team|" .. team.name)
            M.release(held)
            return nil, {limit = team.parallel_requests .. " requests at the same time", wait_s = 1}
        end
        held.parallel = true
    end
    if team.requests_per_minute then
        local mine = key("r", team.name, minute(now))
        held.requests = dict:incr(mine, 1, 0, 3 * MINUTE_S)
        if held.requests > team.requests_per_minute then
            dict:incr(mine, -1)
            M.release(held)
            return nil, {limit = team.requests_per_minute .. " requests per minute", wait_s = wait_s}
        end
        held.counted = mine
    end
    if team.tokens_per_minute then
        local prompt, answer = expected(team, request)
        local wanted = prompt + answer
        local mine = key("t", team.name, held.minute)
        -- Counted first and looked at then, so that two at the same time cannot both have the last of it. A request that is
        -- larger than the whole limit runs alone, and the minutes after pay for it.
        local after = dict:incr(mine, wanted)
        if not after then
            after = dict:incr(mine, wanted, used_tokens(team, now), 3 * MINUTE_S)
        end
        if after > team.tokens_per_minute and after > wanted then
            dict:incr(mine, -wanted)
            if held.counted then
                dict:incr(held.counted, -1)
            end
            M.release(held)
            return nil, {limit = team.tokens_per_minute .. " tokens per minute", wait_s = wait_s}
        end
        held.reserved, held.tokens = wanted, after
    end
    return held
end

-- Give back the place among those that run at the same time, and what is set aside.
function M.release(held)
    if held.aside then
        gauges.leave("money|" .. held.team.name, held.aside)
        held.aside = nil
    end
    if held.parallel then
        held.parallel = nil
        gauges.leave("team|" .. held.team.name)
    end
end

-- The request is over. tokens_in, tokens_out: what it took; nil for nothing that was told. answered: something was generated
-- or may have been, so what is not told counts as reserved. price: of the model that answered, or nil.
--
-- Returns what it cost, or nil, and what counts for the limit besides, in place of what was not told, or nil.
function M.settle(held, tokens_in, tokens_out, answered, now, price)
    local team = held.team
    local told = tokens_in or tokens_out
    local cost = told and price and money.cost(price, tokens_in or 0, tokens_out or 0) or nil
    local aside
    if (held.aside or 0) > 0 and answered and not tokens_in then
        aside = told and held.prompt_aside or held.aside
        dict:incr(spent_key(team.name, now, team.money_per_month.currency), aside, 0)
    end
    if cost then
        dict:incr(spent_key(team.name, now, price.currency), cost, 0)
    end
    M.release(held)
    local used = (tokens_in or 0) + (tokens_out or 0)
    if not tokens_in and not tokens_out and answered then
        used = held.reserved
    end
    if team.tokens_per_minute then
        local mine = key("t", team.name, held.minute)
        if used ~= held.reserved then
            dict:incr(mine, used - held.reserved)
        end
        if minute(now) ~= held.minute and used > held.reserved then
            -- Its minute is over: what it took beyond the reservation counts now.
            used_tokens(team, now)
            dict:incr(key("t", team.name, minute(now)), used - held.reserved, 0, 3 * MINUTE_S)
        end
        if tokens_out then
            local name = key("e", team.name, held.model)
            local before = dict:get(name)
            local after = math.ceil((before or tokens_out) * 0.8 + tokens_out * 0.2)
            if after ~= before then
                dict:set(name, after)
            end
        end
    end
    if team.tokens_per_month and used > 0 then
        dict:incr(key("m", team.name, month(now)), used, 0)
    end
    return cost, aside
end

-- Count what a record of usage says, after a restart. amount: of money, in currency (or nil: none).
function M.restore(team, now, time, tokens, amount, currency)
    if minute(time) == minute(now) then
        dict:incr(key("r", team, minute(now)), 1, 0, 3 * MINUTE_S)
        dict:incr(key("t", team, minute(now)), tokens, 0, 3 * MINUTE_S)
    end
    if month(time) == month(now) then
        dict:incr(key("m", team, month(now)), tokens, 0)
        if type(currency) == "string" then
            dict:incr(spent_key(team, now, currency), amount, 0)
        end
    end
end

-- Wrong keys of one address.

local WRONG_PER_MINUTE

function M.configure(wrong_per_minute)
    WRONG_PER_MINUTE = wrong_per_minute
end

-- Count a wrong key; says whether its address brought too many in this minute.
function M.wrong(address, now)
    return (dict:incr(key("x", address, minute(now)), 1, 0, 2 * MINUTE_S) or 0) > WRONG_PER_MINUTE
end

return M
