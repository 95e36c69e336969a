-- What a team may still use, over all fronts: what the rest of the front asks. Where there is one front, `limits.lua` says it.
--
-- Where fronts share counters (`counters.lua`), these say who is admitted. While the counters are away, each front goes by its
-- share (`shares.lua`): what was left of a limit, as this front last saw it, by the number of fronts, and in later minutes the
-- limit by that number (one at least). What it admits by itself is told to the counters once they are back (`reports.lua`); until
-- all fronts have done so, a request needs both, the counters' word and a part of the share.

local counters = require "slipway.counters"
local estimate = require "slipway.estimate"
local limits = require "slipway.limits"
local notices = require "slipway.notices"
local reports = require "slipway.reports"
local shares = require "slipway.shares"

local M = {}

local born, number

M.watch = reports.watch

-- What no other request of any front is called.
local function new_id(front)
    born, number = born or ngx.worker.pid() .. "-" .. math.floor(ngx.now() * 1000), (number or 0) + 1
    return front .. ":" .. born .. ":" .. number
end

-- Have the counters admit the request; returns 0 or the number of the limit that refuses it, how long its minute lasts, and what
-- was spent of a month's limit that refuses it.
local function ask(held, now, patiently)
    local team = held.team
    local money = team.money_per_month
    local wanted = team.tokens_per_minute and held.may.tokens or 0
    local tokens_aside, money_aside = shares.asides(held)
    local answers, fault = counters.run({{
        "admit", team.name, held.id, limits.month(now), shares.currency(team), shares.number(team.tokens_per_month),
        shares.number(money and money.amount), shares.number(team.parallel_requests), shares.number(team.requests_per_minute),
        shares.number(team.tokens_per_minute), shares.number(wanted), tokens_aside, money_aside,
    }}, patiently)
    if not answers then
        reports.lost(fault)
        return nil
    end
    local refused, requests, tokens, minute, left_s, spent = unpack(answers[1])
    ngx.ctx.slipway.counted = {requests = requests, tokens = tokens, reset_s = left_s}
    if minute == limits.minute(now) then
        shares.mirror(team.name, now, {requests = requests, tokens = tokens})
    end
    held.minute, held.reserved = minute, wanted
    return refused, left_s, spent
end

local function asked(team, request, id, now, patiently)
    local held = limits.begin(team, request, now)
    held.id, held.shared = id, true
    local refused, left_s, spent = ask(held, now, patiently)
    if refused == 0 then
        limits.enter(held)
        reports.runs(held)
        return held
    elseif refused then
        local name = shares.LIMITS[refused]
        return nil, notices.refused(team, name, left_s, spent, held.may and held.may.whole[name])
    end
end

-- As limits.admit.
function M.admit(team, request, now)
    if not counters.there() or not shares.limited(team) then
        return limits.admit(team, request, now)
    end
    local settings = counters.settings()
    local id = settings and new_id(settings.front)
    local held, limit
    if id and not counters.away() then
        held, limit = asked(team, request, id, now)
        if held or limit then
            return held, limit
        end
    end
    held, limit = limits.admit(shares.of(team), request, now)
    if held and id and counters.returning() then
        -- They may not know yet what others admit by their shares, who may not know yet that they are back: so both are asked.
        local found, refused = asked(team, request, id, now)
        if found then
            limits.release(held)
            return found
        elseif refused then
            limits.withdraw(held)
            return nil, refused
        end
    end
    if held then
        -- Its team is the one of the share.
        held.id, held.full = id, team
        if id then
            reports.runs(held)
            counters.owes(1)
            reports.tell("count", team.name, id, shares.number(held.minute), shares.number(held.reserved),
                shares.number(team.tokens_per_minute), shares.asides(held))
        end
        return held
    end
    -- Who would be refused has the time to see whether they are back: all of the limit may be there for it.
    if id and counters.briefly_away() then
        local found, refused = asked(team, request, id, now, true)
        if found or refused then
            return found, refused
        end
    end
    return nil, notices.refused(team, limit.name, limit.left_s, limit.spent and limit.spent * shares.fronts(), limit.wanted)
end

-- As limits.headers: what the counters said of this request, or what is left of this front's share.
function M.headers(team, now, held)
    if not counters.there() then
        return limits.headers(team, now, held)
    end
    local counted = ngx.ctx.slipway.counted
    return counted and notices.headers(team, counted.requests, counted.tokens, counted.reset_s)
        or limits.headers(shares.of(team), now)
end

-- As limits.settle.
function M.settle(held, tokens_in, tokens_out, answered, now, price)
    if not counters.there() then
        return limits.settle(held, tokens_in, tokens_out, answered, now, price)
    end
    local used
    if held.shared then
        used = estimate.took(held, tokens_in, tokens_out, answered, price)
        limits.release(held)
        estimate.learn(held, tokens_out)
    else
        used = limits.settle(held, tokens_in, tokens_out, answered, now, price)
    end
    local team, settings = held.full or held.team, counters.settings()
    shares.spend(team.name, used, now)
    if shares.limited(team) then
        reports.over(held)
        if settings then
            reports.tell("settle", team.name, held.id or "", shares.number(held.minute),
                shares.number(used.minute - held.reserved), shares.number(team.tokens_per_minute), limits.month(now),
                settings.front, shares.spent(team, now))
        end
    end
    return used
end

-- As limits.restore.
function M.restore(record, time, now)
    limits.restore(record, time, now)
    if counters.there() and limits.month(time) == limits.month(now) then
        shares.spend(record.team, estimate.recorded(record), now)
    end
end

return M
