-- Whose key a request brings.
--
-- A key is known by HMAC-SHA256 with a salt of its own; both are compared without a difference in time. A key that
-- `slipway key` made has the form sk-ID-SECRET and is looked up by its ID; any other is tried against all entries that have
-- none. A wrong key with an ID that is known takes as much computing as one with another ID, or with none. Wrong ones are counted
-- by the address that they come from.

local ffi = require "ffi"

ffi.cdef [[
    const void *EVP_sha256(void);
    unsigned char *HMAC(const void *method, const void *key, int key_length, const unsigned char *data, size_t data_length,
                        unsigned char *out, unsigned int *out_length);
    int CRYPTO_memcmp(const void *one, const void *other, size_t length);
]]

local M = {}

local dict = ngx.shared.slipway_limits
local WRONG_PER_MINUTE
local C = ffi.C
local sha256 = C.EVP_sha256()
local digest = ffi.new("unsigned char[32]")
local length = ffi.new("unsigned int[1]")
local NOBODY = {{salt = ("\0"):rep(16), hash = ("\0"):rep(32)}}

local function bytes(hex)
    return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function fits(entry, key)
    C.HMAC(sha256, entry.salt, #entry.salt, key, #key, digest, length)
    return C.CRYPTO_memcmp(digest, entry.hash, 32) == 0
end

-- The entries of all teams as `find` wants them: {by_id = {ID = {entry, …}}, plain = {entry, …}}. Each entry has salt and
-- hash as bytes, team and key.
function M.index(teams)
    local index = {by_id = {}, plain = {}}
    for _, team in ipairs(teams) do
        for _, key in ipairs(team.keys) do
            local entry = {salt = bytes(key.salt), hash = bytes(key.hash), team = team, key = key}
            if #entry.hash ~= 32 or #entry.salt < 8 then
                error("a key of team " .. team.name .. " has no hash of 32 bytes or no salt of 8")
            end
            if key.id then
                index.by_id[key.id] = index.by_id[key.id] or {}
                table.insert(index.by_id[key.id], entry)
            else
                table.insert(index.plain, entry)
            end
        end
    end
    return index
end

-- The key as a request's headers give it, or nil. Anthropic's clients send it as x-api-key, Azure's as api-key.
function M.given(headers)
    local authorization = headers["authorization"]
    local key
    if type(authorization) == "string" then
        local scheme, rest = authorization:match("^%s*(%S+)[ \t]+(.-)%s*$")
        if scheme and scheme:lower() == "bearer" then
            key = rest
        end
    end
    key = key or headers["x-api-key"] or headers["api-key"]
    if type(key) ~= "string" then
        return nil
    end
    key = key:match("^%s*(.-)%s*$")
    return key ~= "" and #key <= 512 and not key:find("[^!-~]") and key or nil
end

-- The team and the entry that a key opens, or nil. now: seconds since 1970.
function M.find(index, key, now)
    local id = key:match("^sk%-(%w+)%-%w+$")
    local found
    for _, entry in ipairs(id and index.by_id[id] or NOBODY) do
        if fits(entry, key) then
            found = entry
        end
    end
    -- A key of a site's own may look like one of ours.
    if not found then
        for _, entry in ipairs(index.plain) do
            if fits(entry, key) then
                found = entry
            end
        end
    end
    if not found then
        return nil
    end
    for _, ends in ipairs({found.key.not_after or false, found.team.not_after or false}) do
        if ends and now >= ends then
            return nil
        end
    end
    return found.team, found.key
end

function M.configure(wrong_per_minute)
    WRONG_PER_MINUTE = wrong_per_minute
end

-- Count a wrong key; says whether its address brought too many in this minute.
function M.wrong(address, now)
    return (dict:incr("x|" .. address .. "|" .. math.floor(now / 60), 1, 0, 120) or 0) > WRONG_PER_MINUTE
end

return M
