-- What was used: a line of JSON for every request, in a file for each day (UTC), and figures for Prometheus.
--
-- A line is written when the request is over, without a buffer: a process that is killed afterwards takes nothing along. It
-- holds no content. Files older than the retention are removed.

local cjson = require "cjson"
local journal = require "slipway.journal"
local money = require "slipway.money"

local M = {}

local dict = ngx.shared.slipway_metrics
local FOLDER, DAYS
local LOOK_BACK = 400
local MINUTE_S = 60
local file, day, looked

function M.configure(folder, days)
    FOLDER, DAYS = folder, days
end

local function forget(now)
    for number = DAYS + 1, DAYS + LOOK_BACK do
        os.remove(FOLDER .. "/" .. os.date("!%Y-%m-%d", now - number * 86400) .. ".jsonl")
    end
end

local function opened(now)
    -- A day begins with a minute.
    local minute = math.floor(now / MINUTE_S)
    if file and day and minute == looked then
        return file
    end
    local today = os.date("!%Y-%m-%d", now)
    looked = minute
    if today ~= day then
        if file then
            file:close()
        end
        local fault
        file, fault = io.open(FOLDER .. "/" .. today .. ".jsonl", "a")
        if not file then
            journal.say(ngx.ERR, "usage cannot be written: ", fault)
            return nil
        end
        file:setvbuf("full", 8192)
        day = today
        forget(now)
    end
    return file
end

local ORDER = {
    "time", "request", "team", "key", "asked", "model", "backend", "path", "stream", "in", "out", "money",
    "currency", "status", "seconds", "first_seconds", "error", "counted", "aside",
    "tokens_aside",
}

-- The names of a request's figures, made once for each team, model and class of status.
local names = {}

local function names_of(team, model, class)
    local found = names[team .. "|" .. model .. "|" .. class]
    if not found then
        local labels = ('{team="%s",model="%s"'):format(team, model)
        found = {
            requests = "slipway_requests_total" .. labels .. (',status="%dxx"}'):format(class),
            tokens_in = "slipway_tokens_total" .. labels .. ',direction="in"}',
            tokens_out = "slipway_tokens_total" .. labels .. ',direction="out"}',
            seconds = "slipway_request_seconds_sum" .. labels .. "}",
            count = "slipway_request_seconds_count" .. labels .. "}",
            money = setmetatable({}, {__index = function(_, currency)
                return "slipway_money_total" .. labels .. (',currency="%s"}'):format(currency)
            end}),
        }
        names[team .. "|" .. model .. "|" .. class] = found
    end
    return found
end

-- What stands before the value of each, and the values themselves as JSON where they are of those that come again and again:
-- the names of teams, keys, models and backends, and paths.
local before, quoted = {}, {}
for at, name in ipairs(ORDER) do
    before[at] = ',"' .. name .. '":'
end
for _, name in ipairs({"team", "key", "asked", "model", "backend", "path", "currency"}) do
    quoted[name] = setmetatable({}, {__index = function(known, value)
        local text = cjson.encode(value)
        known[value] = text
        return text
    end})
end

local function as_json(name, value)
    if type(value) == "string" then
        return quoted[name] and quoted[name][value] or cjson.encode(value)
    elseif type(value) == "number" then
        return value == math.floor(value) and ("%d"):format(value) or ("%.14g"):format(value)
    end
    return tostring(value)
end

-- What the figures are to grow by. It goes to what the workers share a few times a second, since that costs more than the
-- counting; a worker that ends has no timer any more.
local grown, ending = {}, false

local function count(figure, by)
    grown[figure] = (grown[figure] or 0) + by
end

-- Add to the figures what this worker counted. ends: whether it is about to end.
function M.flush(ends)
    ending = ends or ending
    for figure, by in pairs(grown) do
        dict:incr(figure, by, 0)
    end
    grown = {}
end

-- Note a request. record: the fields of ORDER; nil ones are left out.
function M.note(record, now)
    local parts, last = {}, 0
    for at, name in ipairs(ORDER) do
        local value = record[name]
        if value ~= nil then
            parts[last + 1], parts[last + 2] = before[at], as_json(name, value)
            last = last + 2
        end
    end
    -- The first has no comma before it.
    parts[1], parts[last + 1] = "{" .. parts[1]:sub(2), "}\n"
    local out = opened(now)
    if out then
        local ok, fault = out:write(unpack(parts))
        ok = ok and out:flush()
        if not ok then
            journal.say(ngx.ERR, "usage cannot be written: ", fault)
            day = nil
        end
    end
    local figures = names_of(record.team or "", record.model or "", math.floor(record.status / 100))
    count(figures.requests, 1)
    if record["in"] then
        count(figures.tokens_in, record["in"])
    end
    if record.out then
        count(figures.tokens_out, record.out)
    end
    if record.money then
        count(figures.money[record.currency], record.money)
    end
    count(figures.seconds, record.seconds)
    count(figures.count, 1)
    if ending then
        M.flush(true)
    end
end

local HELP = {
    slipway_requests_total = {"counter", "Requests, by team, model and class of status."},
    slipway_tokens_total = {"counter", "Tokens, by team, model and direction."},
    slipway_money_total = {"counter", "What tokens cost, by team, model and currency; nothing of models without a price."},
    slipway_request_seconds = {"summary", "How long requests took, in seconds."},
}

-- The figures in Prometheus' text format, as they were half a second ago at the latest. more: lines of gauges.
function M.metrics(more)
    M.flush()
    local keys = dict:get_keys(0)
    table.sort(keys)
    local lines, told = {}, nil
    for _, key in ipairs(keys) do
        local name = key:match("^[%w_]+")
        local family = name:gsub("_sum$", ""):gsub("_count$", "")
        if family ~= told and HELP[family] then
            lines[#lines + 1] = "# HELP " .. family .. " " .. HELP[family][2]
            lines[#lines + 1] = "# TYPE " .. family .. " " .. HELP[family][1]
            told = family
        end
        local value = dict:get(key)
        lines[#lines + 1] = key .. " " .. ("%.14g"):format(family == "slipway_money_total" and money.units(value) or value)
    end
    for _, line in ipairs(more) do
        lines[#lines + 1] = line
    end
    return table.concat(lines, "\n") .. "\n"
end

-- Go over the records of this month, oldest first: take(record, seconds since 1970). For a start, before it counts.
function M.recall(now, take)
    local seen = os.date("!%Y-%m-", now)
    for number = 1, 31 do
        local source = io.open(FOLDER .. "/" .. seen .. ("%02d.jsonl"):format(number), "r")
        if source then
            for line in source:lines() do
                local ok, record = pcall(cjson.decode, line)
                -- The last line of a file may be half a one, after a loss of power.
                local y, mo, d, h, mi, s = tostring(ok and record.time):match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+):([%d.]+)Z$")
                if y then
                    local days = M.days(tonumber(y), tonumber(mo), tonumber(d))
                    take(record, days * 86400 + h * 3600 + mi * 60 + tonumber(s))
                end
            end
            source:close()
        end
    end
end

-- Days from 1970-01-01 to a date (H. Hinnant, days_from_civil, https://howardhinnant.github.io/date_algorithms.html).
function M.days(year, month, date)
    local y = month <= 2 and year - 1 or year
    local era = math.floor(y / 400)
    local yoe = y - era * 400
    local doy = math.floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5) + date - 1
    local doe = yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy
    return era * 146097 + doe - 719468
end

return M
