-- Reads the top level of a JSON object without decoding what lies below: where each field's value begins and ends.
--
-- A body of many megabytes is a few long strings, which string.find passes over at the speed of memory. What lies deeper is the
-- engine's to judge; here only brackets are counted, so that depth costs nothing. A field that comes twice is refused: two
-- readers could take different ones for the model.

local cjson = require "cjson"

local M = {}

local find, match, byte, sub = string.find, string.match, string.byte, string.sub
local QUOTE, BACKSLASH = 34, 92
local OPEN = {[91] = true, [123] = true}
local MAX_DEPTH = 200

-- A quote ends a string unless an odd number of backslashes stands before it.
local function string_end(raw, from)
    local at = from
    while true do
        at = find(raw, '"', at + 1, true)
        if not at then
            return nil
        end
        local before = at - 1
        while before > from and byte(raw, before) == BACKSLASH do
            before = before - 1
        end
        if (at - before) % 2 == 1 then
            return at
        end
    end
end

local function value_end(raw, from)
    local first = byte(raw, from)
    if first == QUOTE then
        return string_end(raw, from)
    end
    if not OPEN[first] then
        local _, to = find(raw, "^[%w%.+-]+", from)
        return to
    end
    local depth, at = 0, from
    while true do
        at = find(raw, '["%[%]{}]', at)
        if not at then
            return nil
        end
        local char = byte(raw, at)
        if char == QUOTE then
            at = string_end(raw, at)
            if not at then
                return nil
            end
        elseif OPEN[char] then
            depth = depth + 1
            if depth > MAX_DEPTH then
                return nil
            end
        else
            depth = depth - 1
            if depth == 0 then
                return at
            end
        end
        at = at + 1
    end
end

local function skip(raw, at)
    local char = byte(raw, at)
    if char and char > 32 then
        return at
    end
    local _, to = find(raw, "^[ \t\r\n]*", at)
    return to + 1
end

-- The fields of a JSON object: {name = {from, to}} in bytes, or nil and what is wrong ("json" or the name of a field that
-- comes twice).
function M.scan(raw)
    local at = skip(raw, 1)
    if byte(raw, at) ~= 123 then
        return nil, "json"
    end
    local fields = {}
    at = skip(raw, at + 1)
    if byte(raw, at) == 125 then
        return skip(raw, at + 1) > #raw and fields or nil, "json"
    end
    while true do
        if byte(raw, at) ~= QUOTE then
            return nil, "json"
        end
        local name_end = string_end(raw, at)
        if not name_end or name_end - at > 200 then
            return nil, "json"
        end
        local name = sub(raw, at + 1, name_end - 1)
        if find(name, "\\", 1, true) then
            local ok, decoded = pcall(cjson.decode, '["' .. name .. '"]')
            if not ok then
                return nil, "json"
            end
            name = decoded[1]
        end
        if fields[name] then
            return nil, name
        end
        at = skip(raw, name_end + 1)
        if byte(raw, at) ~= 58 then
            return nil, "json"
        end
        local from = skip(raw, at + 1)
        if from > #raw then
            return nil, "json"
        end
        local to = value_end(raw, from)
        if not to then
            return nil, "json"
        end
        fields[name] = {from, to}
        at = skip(raw, to + 1)
        local char = byte(raw, at)
        if char == 125 then
            if skip(raw, at + 1) <= #raw then
                return nil, "json"
            end
            return fields
        elseif char ~= 44 then
            return nil, "json"
        end
        at = skip(raw, at + 1)
    end
end

-- The value of a field where it is a small one: decoded, nil where there is none, or M.BAD where it is no JSON.
M.BAD = {}
function M.value(raw, fields, name)
    local range = fields[name]
    if not range then
        return nil
    end
    -- Names and numbers as most are: they stand for themselves.
    local text = match(raw, '^"([^%c\\"]*)"', range[1])
    if text then
        return text
    end
    local digits = match(raw, "^[1-9]%d*", range[1])
    if digits and #digits < 16 and range[1] + #digits > range[2] then
        return tonumber(digits)
    end
    local ok, decoded = pcall(cjson.decode, "[" .. sub(raw, range[1], range[2]) .. "]")
    if not ok then
        return M.BAD
    end
    return decoded[1]
end

-- How many values an array holds, none of which is decoded: 1 for what is no array, and for one that begins with a number, since
-- those are the tokens of one text.
function M.values(raw, range)
    local at = skip(raw, range[1] + 1)
    local first = byte(raw, at)
    if byte(raw, range[1]) ~= 91 or first == 45 or (first >= 48 and first <= 57) then
        return 1
    end
    local found = 0
    while at < range[2] do
        local to = value_end(raw, at)
        if not to then
            break
        end
        found = found + 1
        at = skip(raw, to + 1)
        if byte(raw, at) ~= 44 then
            break
        end
        at = skip(raw, at + 1)
    end
    return found
end

-- The body with other values, given as JSON, for some of its fields; fields that it does not have come first.
function M.with(raw, fields, values)
    local changes, added = {}, {}
    for name, text in pairs(values) do
        local range = fields[name]
        if range then
            changes[#changes + 1] = {range[1], range[2], text}
        else
            added[#added + 1] = cjson.encode(name) .. ":" .. text
        end
    end
    table.sort(changes, function(a, b) return a[1] < b[1] end)
    local parts, at = {}, 1
    if #added > 0 then
        local opening = find(raw, "{", 1, true)
        parts[1] = "{" .. table.concat(added, ",") .. (next(fields) and "," or "")
        at = opening + 1
    end
    for _, change in ipairs(changes) do
        parts[#parts + 1] = sub(raw, at, change[1] - 1)
        parts[#parts + 1] = change[3]
        at = change[2] + 1
    end
    parts[#parts + 1] = sub(raw, at)
    return table.concat(parts)
end

return M
