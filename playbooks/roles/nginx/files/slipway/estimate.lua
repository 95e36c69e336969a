-- What a request may take before it runs, and what it took once it is over: tokens, and the money for them.
--
-- A prompt is about a quarter of the body's bytes; each answer is as long as the caller allows, or as the team's answers of this
-- model were lately. What an engine was asked and never told counts as it was expected.

local money = require "slipway.money"

local M = {}

local dict = ngx.shared.slipway_limits
local FIRST_GUESS = 256
local BYTES_PER_TOKEN = 4
-- More than any model holds, more than any request takes, and an amount that no request costs: so little that adding them to a
-- count and taking them away again changes nothing.
local MOST_TOKENS, MOST_AT_ONCE, MOST_MONEY = 1e9, 1e12, 1e15

local function answers_key(team, model)
    return "e|" .. team.name .. "|" .. model
end

-- What a request may take: {tokens, answers (how many), whole, prompt}. `whole` and its part `prompt` have what counts for the
-- limits of a month, by their names: nil where nothing is told of it (tokens) or nothing has a price (money). request: as of
-- `limits.admit`.
--
-- A text and one answer to it share a context; every further answer may be as long as one by itself. What a text takes of the
-- context is not known yet, and less where it holds pictures or blanks than its bytes say, so it shortens no further answer and
-- makes none cheaper.
function M.expected(team, request)
    local context = math.min(request.context or math.huge, MOST_TOKENS)
    local texts, answers = request.texts, request.texts * request.choices
    local prompt = math.min(math.ceil(request.bytes / BYTES_PER_TOKEN), texts * context)
    local answer = 0
    if request.generates then
        answer = math.min(request.max_tokens or dict:get(answers_key(team, request.model)) or FIRST_GUESS, context)
    end
    local tokens = math.min(prompt + texts * answer, texts * context) + (answers - texts) * answer
    tokens = math.min(tokens, MOST_AT_ONCE)
    local found = {tokens = tokens, answers = answers, whole = {}, prompt = {}}
    if request.told then
        found.whole.tokens_per_month, found.prompt.tokens_per_month = tokens, prompt
    end
    if request.price then
        found.whole.money_per_month = math.min(money.cost(request.price, prompt, answers * answer), MOST_MONEY)
        found.prompt.money_per_month = math.min(money.cost(request.price, prompt, 0), MOST_MONEY)
    end
    return found
end

local function not_told(held, name, part)
    local amount = held.team[name] and part[name] or 0
    return amount > 0 and amount or nil
end

-- What a request took: {minute (tokens for the minute's limit), month (tokens for the month's), money (by currency, or nil),
-- cost (or nil), and what `month` and `money` have for what was not told: tokens_aside, aside (or nil)}. Arguments: as of
-- `limits.settle`.
function M.took(held, tokens_in, tokens_out, answered, price)
    local told = tokens_in or tokens_out
    local tokens = (tokens_in or 0) + (tokens_out or 0)
    local found = {minute = not told and answered and held.reserved or tokens, month = tokens}
    if told and price then
        found.cost = money.cost(price, tokens_in or 0, tokens_out or 0)
        found.money = {[price.currency] = found.cost}
    end
    if held.may and answered and not tokens_in then
        local part = told and held.may.prompt or held.may.whole
        found.tokens_aside = not_told(held, "tokens_per_month", part)
        found.aside = not_told(held, "money_per_month", part)
        found.month = tokens + (found.tokens_aside or 0)
        if found.aside then
            local currency = held.team.money_per_month.currency
            found.money = found.money or {}
            found.money[currency] = (found.money[currency] or 0) + found.aside
        end
    end
    return found
end

-- What the record of a request says that it took, as `took` has it.
function M.recorded(record)
    local function number(name)
        return tonumber(record[name]) or 0
    end
    local tokens = number("in") + number("out")
    local found = {minute = tokens, month = tokens + number("tokens_aside")}
    if type(record.currency) == "string" then
        found.money = {[record.currency] = number("money") + number("aside")}
    end
    return found
end

-- Remember how long each answer was, for what the next ones may take.
function M.learn(held, tokens_out)
    if held.may and tokens_out then
        local name = answers_key(held.team, held.model)
        local before = dict:get(name)
        local each = tokens_out / held.may.answers
        local after = math.ceil((before or each) * 0.8 + each * 0.2)
        if after ~= before then
            dict:set(name, after)
        end
    end
end

return M
