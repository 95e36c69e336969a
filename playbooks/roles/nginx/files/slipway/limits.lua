-- What a team may still use by the count of this front alone: requests and tokens of the running minute, tokens and money of
-- the running month, requests at once. Where fronts share their counts, `quota.lua` decides, and asks here for what it needs.
--
-- Minutes and months are those of the clock (UTC). What a request may take (`estimate.lua`) is reserved when it begins and
-- settled when it ends, by what the engine says it used. What goes beyond a minute's limit is taken from those after it, until
-- it is worked off or an hour is over. A month's tokens and money are not overdrawn: who has less left than a request may take is refused.

local counts_in = require "slipway.counts"
local estimate = require "slipway.estimate"
local gauges = require "slipway.gauges"
local notices = require "slipway.notices"

local M = {}

local dict = ngx.shared.slipway_limits
local counted = counts_in.of(dict)
local MINUTE_S = 60
local MOST_DEBT_MINUTES = 60
local DEBT_KEPT_S = (MOST_DEBT_MINUTES + 2) * MINUTE_S
local NOTHING = {}
local MONTHLY = {"tokens_per_month", "money_per_month"}
-- What was last seen spent of each limit of a month, which may be more by now.
local known_spent = {}
local LETTERS = {tokens_per_month = "m", money_per_month = "c"}

local function minute(now)
    return math.floor(now / MINUTE_S)
end

local known_minute, known_month

-- Asked for each request, so it is made once a minute.
local function month(now)
    if minute(now) ~= known_minute then
        known_minute, known_month = minute(now), os.date("!%Y-%m", now)
    end
    return known_month
end

local function key(kind, team, period)
    return kind .. "|" .. team .. "|" .. period
end

-- Under which name is kept what a team spent of a limit of this month. Money of another currency is another count. whose: a
-- letter for a count beside the one that is held against the limit, or nil.
local function month_key(name, team, now, currency, whose)
    return key((whose or "") .. LETTERS[name], team, currency and month(now) .. "|" .. currency or month(now))
end

M.minute, M.month, M.month_key = minute, month, month_key

-- How much a limit of a month is, and in which currency; nil where the team has none.
local function of_month(team, name)
    local limit = team[name]
    if type(limit) == "table" then
        return limit.amount, limit.currency
    end
    return limit
end

-- What a minute that begins so many after another still has to pay of what that one, with its own debt, went beyond the limit.
local function debt(used, limit, minutes)
    return math.max(0, math.min(used - limit, MOST_DEBT_MINUTES * limit) - (minutes - 1) * limit)
end

local function used_tokens(team, now)
    local this = key("t", team.name, minute(now))
    local used = dict:get(this)
    if not used then
        local limit, last = team.tokens_per_minute, minute(now) - 1
        local before = dict:get(key("t", team.name, last))
        if not before then
            -- Whatever came between went beyond nothing, so its debt says all.
            last = dict:get("d|" .. team.name)
            before = last and last < minute(now) and dict:get(key("t", team.name, last))
        end
        local owed = before and debt(before, limit, minute(now) - last) or 0
        dict:add(this, owed, 3 * MINUTE_S)
        used = dict:get(this) or owed
    end
    return used
end

-- Keep a minute that went beyond the limit for as long as it may be owed.
local function owe(team, its)
    local last = "d|" .. team.name
    dict:expire(key("t", team.name, its), DEBT_KEPT_S)
    if (dict:get(last) or 0) <= its then
        dict:set(last, its, DEBT_KEPT_S)
    end
end

-- Change what a minute used; what later ones that have begun have to pay of it changes too.
local function change(team, its, by, now)
    local limit = team.tokens_per_minute
    local after = counted(key("t", team.name, its), by, nil, true)
    if not after then
        return
    end
    local before = after - by
    if after > limit then
        owe(team, its)
    end
    for at = its + 1, minute(now) do
        local later = dict:get(key("t", team.name, at))
        if later then
            local more = debt(after, limit, at - its) - debt(before, limit, at - its)
            after = more ~= 0 and counted(key("t", team.name, at), more, nil, true)
            if not after then
                return
            end
            before, its = after - more, at
            if after > limit then
                owe(team, its)
            end
        end
    end
end

local function left_s(now)
    return math.ceil((minute(now) + 1) * MINUTE_S - now)
end

-- The headers that tell a client what is left. held: of the request just admitted, or nil.
function M.headers(team, now, held)
    local requests = team.requests_per_minute
        and (held and held.requests or dict:get(key("r", team.name, minute(now)))) or 0
    local tokens = team.tokens_per_minute and (held and held.tokens or used_tokens(team, now)) or 0
    return notices.headers(team, requests, tokens, left_s(now))
end

-- Set aside what a request may take of a limit of the month; returns nil, or what was spent where it is refused.
local function set_aside(held, name, now)
    local limit, currency = of_month(held.team, name)
    local wanted = held.may.whole[name]
    -- What is known to cost nothing passes always.
    if not limit or wanted == 0 then
        return nil
    end
    local kept = month_key(name, held.team.name, now, currency)
    -- Who is refused is to set nothing aside, as far as this worker can know without a look.
    if (known_spent[kept] or 0) + (wanted or 0) > limit then
        local before = dict:get(kept) or 0
        known_spent[kept] = before
        if before + (wanted or 0) > limit then
            return before
        end
    end
    -- What runs is looked at before what was spent: who ends meanwhile counts in both, and never in neither.
    local aside = gauges.enter(name .. "|" .. held.team.name, wanted or 0)
    held.aside[name] = wanted or 0
    local spent = dict:get(kept) or 0
    known_spent[kept] = spent
    return (spent + aside > limit or not wanted and spent >= limit) and spent or nil
end

-- What `admit` starts with: {team, model, minute, reserved (tokens of the minute), may (see estimate.lua; nil where no limit
-- asks for it), aside (what is set aside, by the name of the limit)}.
function M.begin(team, request, now)
    local held = {team = team, model = request.model, minute = minute(now), reserved = 0}
    if team.tokens_per_minute or team.tokens_per_month or team.money_per_month then
        held.may, held.aside = estimate.expected(team, request), {}
    end
    return held
end

-- Give back all of a request that is not admitted, and say why; spent: of a limit of the month.
local function refuse(held, now, name, spent)
    M.withdraw(held)
    return nil, notices.refused(held.team, name, left_s(now), spent, spent and held.may.whole[name])
end

-- Admit a request of a team.
--
-- request: {model, bytes (of what is read), texts (how many are read), choices (answers to each), max_tokens (of one answer, or
-- nil), context (tokens that the model holds, or nil), generates, told (whether an answer tells its tokens), price (or nil)}.
-- Returns what `settle` wants, or nil and what `notices.refused` says.
function M.admit(team, request, now)
    local held = M.begin(team, request, now)
    for _, name in ipairs(held.may and MONTHLY or NOTHING) do
        local spent = set_aside(held, name, now)
        if spent then
            return refuse(held, now, name, spent)
        end
    end
    if team.parallel_requests then
        held.parallel = true
        if gauges.enter("team|" .. team.name) > team.parallel_requests then
            return refuse(held, now, "parallel_requests")
        end
    end
    if team.requests_per_minute then
        held.counted = key("r", team.name, held.minute)
        held.requests = counted(held.counted, 1, 3 * MINUTE_S)
        if held.requests > team.requests_per_minute then
            return refuse(held, now, "requests_per_minute")
        end
    end
    if team.tokens_per_minute then
        local wanted, mine = held.may.tokens, key("t", team.name, held.minute)
        -- Counted first and looked at then, so that two at the same time cannot both have the last of it. A request that is
        -- larger than the whole limit runs alone, and the minutes after pay for it.
        local after = counted(mine, wanted, nil, true)
        if not after then
            after = dict:incr(mine, wanted, used_tokens(team, now), 3 * MINUTE_S)
        end
        if after > team.tokens_per_minute and after > wanted then
            dict:incr(mine, -wanted)
            return refuse(held, now, "tokens_per_minute")
        end
        if after > team.tokens_per_minute then
            owe(team, held.minute)
        end
        held.reserved, held.tokens = wanted, after
    end
    return held
end

-- Count as running what somebody else admitted.
function M.enter(held)
    for _, name in ipairs(held.may and MONTHLY or NOTHING) do
        local wanted = held.team[name] and held.may.whole[name] or 0
        if wanted > 0 then
            gauges.enter(name .. "|" .. held.team.name, wanted)
            held.aside[name] = wanted
        end
    end
    if held.team.parallel_requests then
        gauges.enter("team|" .. held.team.name)
        held.parallel = true
    end
end

-- Give back all of a request that was admitted and does not run after all.
function M.withdraw(held)
    M.release(held)
    if held.counted then
        dict:incr(held.counted, -1)
    end
    if held.reserved > 0 then
        dict:incr(key("t", held.team.name, held.minute), -held.reserved)
    end
end

-- Give back the place among those that run at the same time, and what is set aside.
function M.release(held)
    for name, amount in pairs(held.aside or NOTHING) do
        gauges.leave(name .. "|" .. held.team.name, amount)
        held.aside[name] = nil
    end
    if held.parallel then
        held.parallel = nil
        gauges.leave("team|" .. held.team.name)
    end
end

-- Count in this month what was used (see estimate.lua). whose: as of month_key.
function M.spend(team, used, now, whose)
    if used.month > 0 then
        local kept = month_key("tokens_per_month", team, now, nil, whose)
        known_spent[kept] = counted(kept, used.month)
    end
    for currency, amount in pairs(used.money or NOTHING) do
        local kept = month_key("money_per_month", team, now, currency, whose)
        known_spent[kept] = counted(kept, amount)
    end
end

-- The tokens of a minute: more (or less) than was reserved.
local function correct(held, more, now)
    local team, its = held.team, held.minute
    if more > 0 and its ~= minute(now) then
        -- Its minute is over: what it took beyond the reservation counts now, and is no debt of that minute as well.
        its = minute(now)
        used_tokens(team, now)
    end
    change(team, its, more, now)
end

-- The request is over. tokens_in, tokens_out: what it took; nil for nothing that was told. answered: something was generated
-- or may have been, so what is not told counts as reserved. price: of the model that answered, or nil.
--
-- Returns what was used (see estimate.lua).
function M.settle(held, tokens_in, tokens_out, answered, now, price)
    local used = estimate.took(held, tokens_in, tokens_out, answered, price)
    M.spend(held.team.name, used, now)
    M.release(held)
    if held.team.tokens_per_minute and used.minute ~= held.reserved then
        correct(held, used.minute - held.reserved, now)
    end
    estimate.learn(held, tokens_out)
    return used
end

-- What counts as used in this minute and month from now on: {requests, tokens, tokens_per_month, money_per_month, currency};
-- nil for what stays. at_least: unless it is more already.
function M.set(team, now, counts, at_least)
    local function put(name, value, seconds)
        if value and not (at_least and (dict:get(name) or 0) > value) then
            dict:set(name, value, seconds)
        end
    end
    put(key("r", team, minute(now)), counts.requests, 3 * MINUTE_S)
    put(key("t", team, minute(now)), counts.tokens, 3 * MINUTE_S)
    put(month_key("tokens_per_month", team, now), counts.tokens_per_month, 0)
    if counts.currency then
        put(month_key("money_per_month", team, now, counts.currency), counts.money_per_month, 0)
    end
end

-- Count what the record of a request at `time` says, after a restart.
function M.restore(record, time, now)
    local used = estimate.recorded(record)
    if minute(time) == minute(now) then
        dict:incr(key("r", record.team, minute(now)), 1, 0, 3 * MINUTE_S)
        dict:incr(key("t", record.team, minute(now)), used.minute, 0, 3 * MINUTE_S)
    end
    if month(time) == month(now) then
        M.spend(record.team, used, now)
    end
end

return M
