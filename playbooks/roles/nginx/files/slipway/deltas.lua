-- Makes the pieces of tool calls in a stream such as clients can put together.
--
-- vLLM sends several pieces of one call in one event when tokens come faster than they go out: the name, and the beginning of
-- the arguments. OpenAI's API allows that, but its client for Python, before release 3, takes each of the first event for a
-- call of its own (https://github.com/openai/openai-python/issues/3201), and the arguments are lost.

local cjson = require "cjson"

local M = {}

-- Where the array ends that begins at a place of a text, or nil.
local function array_end(text, at)
    local depth = 0
    while true do
        local here = text:find('["%[%]]', at)
        if not here then
            return nil
        end
        local mark = text:sub(here, here)
        if mark == '"' then
            -- To the end of the string: a backslash takes the next character along.
            repeat
                here = text:find('["\\]', here + 1)
                local escaped = here and text:sub(here, here) == "\\"
                here = escaped and here + 1 or here
            until not here or not escaped
            if not here then
                return nil
            end
        else
            depth = depth + (mark == "[" and 1 or -1)
            if depth == 0 then
                return here
            end
        end
        at = here + 1
    end
end

-- The pieces with one for each call, or nil where that is so already.
local function joined(pieces)
    local found, by_index, twice = {}, {}, false
    for _, piece in ipairs(pieces) do
        local first = type(piece) == "table" and piece.index and by_index[piece.index]
        if first and type(piece["function"]) == "table" then
            twice = true
            first["function"] = type(first["function"]) == "table" and first["function"] or {}
            for key, value in pairs(piece["function"]) do
                local before = first["function"][key]
                first["function"][key] = type(before) == "string" and type(value) == "string" and before .. value or value
            end
        else
            found[#found + 1] = piece
            if type(piece) == "table" and piece.index then
                by_index[piece.index] = piece
            end
        end
    end
    return twice and found or nil
end

-- Events of a stream, in each of which a tool call has one piece.
function M.joined(text)
    if not text:find('"tool_calls":', 1, true) then
        return text
    end
    local at = 1
    while true do
        local _, opening = text:find('"tool_calls": ?%[', at)
        local closing = opening and array_end(text, opening)
        if not closing then
            return text
        end
        local ok, pieces = pcall(cjson.decode, text:sub(opening, closing))
        local new = ok and joined(pieces)
        if new then
            local json = cjson.encode(new)
            text = text:sub(1, opening - 1) .. json .. text:sub(closing + 1)
            closing = opening + #json - 1
        end
        at = closing + 1
    end
end

return M
