-- What a team may still use, over all fronts: the interface of `limits.lua`, with which it works where there is one front.
--
-- Where fronts share counters, these say who is admitted. While the counters are away, each front goes by its share: what was
-- left of a limit, as this front last saw it, by the number of fronts, and in later minutes the limit by that number (one at
-- least). What it admits by itself is told to the counters once they are back.

local counters = require "slipway.counters"
local gauges = require "slipway.gauges"
local limits = require "slipway.limits"
local reports = require "slipway.reports"
local shares = require "slipway.shares"

local M = {}

local dict = ngx.shared.slipway_limits
local born, number

M.wrong = limits.wrong
M.watch = reports.watch

-- What no other request of any front is called.
local function new_id(front)
    born, number = born or ngx.worker.pid() .. "-" .. math.floor(ngx.now() * 1000), (number or 0) + 1
    return front .. ":" .. born .. ":" .. number
end

-- Have the counters admit the request; returns 0 or the number of the limit that refuses it, and how long its minute lasts.
local function ask(held, wanted, now, patiently)
    local team = held.team
    local answers, fault = counters.run({{
        "admit", team.name, held.id, limits.month(now), shares.number(team.requests_per_minute),
        shares.number(team.tokens_per_minute), shares.number(team.parallel_requests), shares.number(team.tokens_per_month),
        shares.number(wanted),
    }}, patiently)
    if not answers then
        reports.lost(fault)
        return nil
    end
    local refused, requests, tokens, minute, left_s = unpack(answers[1])
    ngx.ctx.slipway.counted = {requests = requests, tokens = tokens, reset_s = left_s}
    if minute == limits.minute(now) then
        shares.mirror(team.name, now, requests, tokens)
    end
    held.minute, held.reserved = minute, wanted
    return refused, left_s
end

local function asked(team, request, id, now, patiently)
    local held = {team = team, model = request.model, id = id, shared = true}
    local refused, left_s = ask(held, team.tokens_per_minute and limits.wanted(team, request) or 0, now, patiently)
    if refused == 0 then
        if team.parallel_requests then
            held.parallel = true
            gauges.enter("team|" .. team.name)
        end
        reports.runs(held)
        return held
    elseif refused then
        return nil, limits.refused(team, shares.LIMITS[refused], left_s)
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
    if held then
        if id then
            held.id = id
            reports.runs(held)
            counters.owes(1)
            reports.tell("count", team.name, id, shares.number(held.minute), shares.number(held.reserved),
                shares.number(team.tokens_per_minute))
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
    return nil, limits.refused(team, limit.name, limit.left_s)
end

-- As limits.headers: what the counters said of this request, or what is left of this front's share.
function M.headers(team, now)
    if not counters.there() then
        return limits.headers(team, now)
    end
    local counted = ngx.ctx.slipway.counted
    return counted and limits.shown(team, counted.requests, counted.tokens, counted.reset_s)
        or limits.headers(shares.of(team), now)
end

-- As limits.settle.
function M.settle(held, tokens_in, tokens_out, answered, now)
    if not counters.there() or not shares.limited(held.team) then
        return limits.settle(held, tokens_in, tokens_out, answered, now)
    end
    local used
    if held.shared then
        limits.release(held)
        used = limits.took(held, tokens_in, tokens_out, answered)
        limits.learn(held, tokens_out)
    else
        used = limits.settle(held, tokens_in, tokens_out, answered, now)
    end
    reports.over(held)
    local team, settings = held.team, counters.settings()
    local own = dict:incr(shares.own_key(team.name, now), used, 0)
    if settings then
        reports.tell("settle", team.name, held.id or "", shares.number(held.minute), shares.number(used - held.reserved),
            shares.number(team.tokens_per_minute), limits.month(now), settings.front, shares.number(own))
    end
end

-- As limits.restore.
function M.restore(team, now, time, tokens)
    limits.restore(team, now, time, tokens)
    if limits.month(time) == limits.month(now) then
        dict:incr(shares.own_key(team, now), tokens, 0)
    end
end

return M
