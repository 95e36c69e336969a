-- What callers asked and were answered, for the teams that the site names: a line of JSON for every request with a body, in a
-- file for each day (UTC).
--
-- It writes to its own folder and nowhere else: what fails is told to the journal without a word of the content. Files older
-- than the retention are removed whether or not anybody asks anything; without a retention, all are. Recordings and pictures
-- that come as forms are not kept.

local cjson = require "cjson"
local journal = require "slipway.journal"

local M = {}

local MAX_BYTES = 1048576
local LOOK_BACK = 3660
local ORDER = {"time", "request", "team", "key", "asked", "model", "path", "stream", "status", "error"}
local FOLDER, DAYS
local file, day

-- folder: of the files; days: how long they are kept, 0 where nothing is.
function M.configure(folder, days)
    FOLDER, DAYS = folder, days
end

local function path_of(time)
    return FOLDER .. "/" .. os.date("!%Y-%m-%d", time) .. ".jsonl"
end

-- Remove what is older than the retention. all: also what a longer one, or a front that stood still, left behind.
function M.forget(now, all)
    local first = DAYS > 0 and DAYS + 1 or 0
    for number = first, all and LOOK_BACK or first + 31 do
        os.remove(path_of(now - number * 86400))
    end
end

-- Begin to keep what a request says; nil where nothing is kept. kind: its content type.
function M.begin(raw, kind)
    if DAYS == 0 then
        return nil
    end
    local kept = {parts = {}, order = {}, left = MAX_BYTES}
    if type(kind) == "string" and kind:lower():find("^multipart/") then
        kept.body_bytes = #raw
    else
        kept.body, kept.body_cut = raw:sub(1, MAX_BYTES), #raw > MAX_BYTES or nil
    end
    return kept
end

local function add(kept, number, kind, text)
    number = tonumber(number) or 0
    if type(text) ~= "string" or text == "" then
        return
    end
    if kept.left < #text then
        text, kept.answer_cut = text:sub(1, kept.left), true
    end
    kept.left = kept.left - #text
    local name = number .. "|" .. kind
    local part = kept.parts[name]
    if not part then
        part = {number = number, kind = kind, texts = {}}
        kept.parts[name] = part
        kept.order[#kept.order + 1] = part
    end
    part.texts[#part.texts + 1] = text
end

local function list(value)
    return type(value) == "table" and value or {}
end

local function called(kept, number, name, arguments)
    add(kept, number, "tool_call", type(name) == "string" and name .. " " or nil)
    add(kept, number, "tool_call", arguments)
end

-- A message of OpenAI's chat, or a piece of one.
local function message(kept, number, said)
    if type(said.content) == "table" then
        for _, part in ipairs(said.content) do
            add(kept, number, "content", list(part).text)
        end
    end
    add(kept, number, "content", said.content)
    add(kept, number, "refusal", said.refusal)
    add(kept, number, "reasoning", type(said.reasoning) == "string" and said.reasoning or said.reasoning_content)
    for _, call in ipairs(list(said.tool_calls)) do
        local its = list(list(call)["function"])
        called(kept, number, its.name, its.arguments)
    end
end

-- A block of Anthropic's messages or an item of OpenAI's responses, whole or a piece of one.
local function block(kept, number, said)
    add(kept, number, "content", said.text)
    add(kept, number, "reasoning", said.thinking)
    called(kept, number, (said.type == "tool_use" or said.type == "function_call") and said.name or nil,
        said.partial_json or said.arguments)
    if type(said.input) == "table" and next(said.input) then
        add(kept, number, "tool_call", cjson.encode(said.input))
    end
    for _, part in ipairs(list(said.content)) do
        add(kept, number, said.type == "reasoning" and "reasoning" or "content", list(part).text)
    end
end

local DELTAS = {
    ["response.output_text.delta"] = "content", ["response.refusal.delta"] = "refusal",
    ["response.reasoning_text.delta"] = "reasoning", ["response.reasoning_summary_text.delta"] = "reasoning",
    ["response.function_call_arguments.delta"] = "tool_call",
}

-- An answer, or an event of a stream, decoded. Vectors and tokens are no text, and are not kept.
function M.heard(kept, data)
    if data.type == "response.output_item.added" and type(data.item) == "table" then
        called(kept, data.output_index or 0, data.item.type == "function_call" and data.item.name or nil)
    elseif DELTAS[data.type] then
        add(kept, data.output_index or 0, DELTAS[data.type], data.delta)
    elseif data.type == "content_block_start" or data.type == "content_block_delta" then
        block(kept, data.index or 0, list(data.content_block or data.delta))
    elseif data.type == "message" or data.object == "response" then
        for number, said in ipairs(list(data.content or data.output)) do
            block(kept, number - 1, list(said))
        end
    else
        for _, choice in ipairs(list(data.choices)) do
            choice = list(choice)
            add(kept, choice.index or 0, "content", choice.text)
            message(kept, choice.index or 0, list(choice.message or choice.delta))
        end
        add(kept, 0, "content", data.text)
    end
end

local function opened(now)
    local today = os.date("!%Y-%m-%d", now)
    if today ~= day or not file then
        if file then
            file:close()
        end
        local fault
        file, fault = io.open(path_of(now), "a")
        if not file then
            journal.say(ngx.ERR, "content cannot be kept: ", fault)
            return nil
        end
        -- One line is one write, so that the lines of several workers do not mix.
        file:setvbuf("no")
        day = today
    end
    return file
end

-- The request is over. kept: what `begin` gave; record: what usage notes of the request.
function M.write(kept, record, now)
    local told = {}
    for _, name in ipairs(ORDER) do
        if record[name] ~= nil then
            told[#told + 1] = cjson.encode(name) .. ":" .. cjson.encode(record[name])
        end
    end
    for _, name in ipairs({"body", "body_bytes", "body_cut", "answer_cut"}) do
        if kept[name] ~= nil then
            told[#told + 1] = cjson.encode(name) .. ":" .. cjson.encode(kept[name])
        end
    end
    local said = {}
    for place, part in ipairs(kept.order) do
        said[place] = cjson.encode({number = part.number, kind = part.kind, text = table.concat(part.texts)})
    end
    told[#told + 1] = '"answer":[' .. table.concat(said, ",") .. "]"
    local out = opened(now)
    if out then
        local ok, fault = out:write("{" .. table.concat(told, ",") .. "}\n")
        if not ok then
            journal.say(ngx.ERR, "content cannot be kept: ", fault)
            out:close()
            file = nil
        end
    end
end

return M
