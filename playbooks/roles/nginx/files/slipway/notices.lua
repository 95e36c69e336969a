-- What a client is told of its team's limits: in headers what is left of them, and why a request is refused.

local money = require "slipway.money"

local M = {}

local QUOTA = "insufficient_quota"
local WORDS = {
    parallel_requests = "%.14g requests at the same time",
    requests_per_minute = "%.14g requests per minute",
    tokens_per_minute = "%.14g tokens per minute",
}

-- As OpenAI's API names them. requests, tokens: used in this minute, which ends in reset_s seconds.
function M.headers(team, requests, tokens, reset_s)
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

-- The values of these headers and the name of the model in one text, of which nginx makes the headers of an answer (nginx.conf):
-- to set each from here costs several times as much. Spaces stand between them, and nothing for those that there are not.
function M.line(headers, model)
    local requests, tokens = headers["x-ratelimit-limit-requests"], headers["x-ratelimit-limit-tokens"]
    return (requests and requests .. " " .. headers["x-ratelimit-remaining-requests"] .. " "
            .. headers["x-ratelimit-reset-requests"] or "  ")
        .. (tokens and " " .. tokens .. " " .. headers["x-ratelimit-remaining-tokens"] .. " "
            .. headers["x-ratelimit-reset-tokens"] or "   ")
        .. " " .. (model or "")
end

local function quantity(team, name, amount)
    if name == "money_per_month" then
        return ("%.14g %s"):format(money.units(amount), team[name].currency)
    end
    return ("%.14g tokens"):format(amount)
end

-- Of a limit of a month: how much is spent of it, and what the request wanted (or nil).
local function of_a_month(team, name, spent, wanted)
    local limit = name == "money_per_month" and team[name].amount or team[name]
    local words = quantity(team, name, limit) .. " per month"
    if spent >= limit then
        return QUOTA, ("The team %s has used its %s."):format(team.name, words)
    elseif spent + (wanted or 0) > limit then
        return QUOTA, ("The team %s has %s left of its %s, and this request may %s %s. Ask for a shorter answer (max_tokens).")
            :format(team.name, quantity(team, name, limit - spent), words, name == "money_per_month" and "cost" or "take",
            quantity(team, name, wanted))
    end
    return nil, ("What is left to the team %s of its %s is set aside for requests that run. Try again in 1 s.")
        :format(team.name, words)
end

-- Why the limit called `name` refuses a request. left_s: seconds that are left of the minute. spent, wanted: of a month's limit.
-- Returns {message, code (nil: it is a matter of time), wait_s, and name, left_s, spent, wanted as they were given}.
function M.refused(team, name, left_s, spent, wanted)
    local found = {name = name, left_s = left_s, spent = spent, wanted = wanted}
    if WORDS[name] then
        found.wait_s = name == "parallel_requests" and 1 or math.max(1, left_s)
        found.message = ("The team %s has used its " .. WORDS[name] .. ". Try again in %d s.")
            :format(team.name, team[name], found.wait_s)
        return found
    end
    found.code, found.message = of_a_month(team, name, spent, wanted)
    found.wait_s = not found.code and 1 or nil
    return found
end

return M
