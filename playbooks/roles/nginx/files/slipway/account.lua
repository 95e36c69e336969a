-- The end of a request, whatever became of it: gives back what it held, settles what it used, and notes it.

local asking = require "slipway.asking"
local content = require "slipway.content"
local journal = require "slipway.journal"
local quota = require "slipway.quota"
local usage_of = require "slipway.usage"

local M = {}

local NOTHING = {}

local known_second, known_text

-- A time as the records have it. The text of its second is made once.
local function stamp(now)
    local second = math.floor(now)
    if second ~= known_second then
        known_second, known_text = second, os.date("!%Y-%m-%dT%H:%M:%S", second)
    end
    return ("%s.%03dZ"):format(known_text, math.floor((now - second) * 1000))
end

local function over()
    local ctx = ngx.ctx.slipway
    if not ctx then
        return
    end
    if ctx.held then
        asking.leave(ctx)
    end
    if not ctx.team then
        return
    end
    local now = ngx.now()
    local usage = ctx.usage
    -- A stream that broke off told no usage: each event was about a token.
    local out = usage.answer or (usage.events > 0 and usage.events or nil)
    local used = ctx.limit and quota.settle(ctx.limit, usage.prompt, out, ctx.generated, now, ctx.price) or NOTHING
    local record = {
        time = stamp(now),
        request = ctx.request, team = ctx.team.name, key = ctx.key,
        asked = ctx.model and ctx.asked or nil, model = ctx.model, backend = ctx.backend, path = ctx.path,
        counted = ctx.limit and true or nil, stream = ctx.stream, ["in"] = usage.prompt, out = out, status = ngx.status,
        money = used.cost, aside = used.aside, tokens_aside = used.tokens_aside,
        currency = used.cost and ctx.price.currency or used.aside and ctx.team.money_per_month.currency or nil,
        seconds = math.floor((now - ctx.began) * 1000 + 0.5) / 1000,
        first_seconds = ctx.first_seconds and math.floor(ctx.first_seconds * 1000 + 0.5) / 1000, error = ctx.error,
    }
    if ctx.asked or ctx.limit then
        usage_of.note(record, now)
    end
    if ctx.kept then
        content.write(ctx.kept, record, now)
    end
end

-- The log phase: the request is over, whatever became of it.
function M.over()
    local ok, fault = pcall(over)
    if not ok then
        journal.say(ngx.ERR, "a request was not accounted for: ", tostring(fault))
    end
end

return M
