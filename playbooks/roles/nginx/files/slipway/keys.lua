-- Whose key a request brings.
--
-- A key is known by HMAC-SHA256 with a salt of its own; both are compared without a difference in time. A key that
-- `slipway key` made has the form sk-ID-SECRET and is looked up by its ID; any other is tried against all entries that have
-- none. A wrong key with an ID that is known takes as much computing as one with another ID, or with none. Wrong ones are counted
-- by the address that they come from.

local ffi = require "ffi"

-- OpenSSL's SHA256_CTX by another name, and what works on it. HMAC() itself would look its method up for each key, and allocate,
-- which takes several times as long as the computing.
ffi.cdef [[
    typedef struct {
        unsigned int h[8], length_low, length_high, data[16], number, digest_length;
    } slipway_sha256_t;
    int SHA256_Init(slipway_sha256_t *state);
    int SHA256_Update(slipway_sha256_t *state, const void *data, size_t length);
    int SHA256_Final(unsigned char *out, slipway_sha256_t *state);
    int CRYPTO_memcmp(const void *one, const void *other, size_t length);
]]

local M = {}

local dict = ngx.shared.slipway_limits
local WRONG_PER_MINUTE
local MOST_BYTES = 512
local C = ffi.C
local BLOCK, STATE = 64, ffi.sizeof("slipway_sha256_t")
local digest = ffi.new("unsigned char[32]")
local state = ffi.new("slipway_sha256_t")

local function bytes(hex)
    return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

-- SHA-256 after the block that an HMAC begins with (RFC 2104): its key, each byte altered by `with`.
local function begun(salt, with)
    local block = {}
    for at = 1, BLOCK do
        block[at] = string.char(bit.bxor(salt:byte(at) or 0, with))
    end
    local found = ffi.new("slipway_sha256_t")
    C.SHA256_Init(found)
    C.SHA256_Update(found, table.concat(block), BLOCK)
    return found
end

-- What a key is compared with: {inner, outer (SHA-256 as begun with the salt), hash}, and more.
local function entry_of(salt, hash, more)
    if #hash ~= 32 or #salt < 8 or #salt > BLOCK then
        return nil
    end
    more.inner, more.outer, more.hash = begun(salt, 0x36), begun(salt, 0x5c), hash
    return more
end

local NOBODY = {entry_of(("\0"):rep(16), ("\0"):rep(32), {})}

local function fits(entry, key)
    ffi.copy(state, entry.inner, STATE)
    C.SHA256_Update(state, key, #key)
    C.SHA256_Final(digest, state)
    ffi.copy(state, entry.outer, STATE)
    C.SHA256_Update(state, digest, 32)
    C.SHA256_Final(digest, state)
    return C.CRYPTO_memcmp(digest, entry.hash, 32) == 0
end

-- The entries of all teams as `find` wants them: {by_id = {ID = {entry, …}}, plain = {entry, …}}. Each entry is one of
-- `entry_of`, with team and key.
function M.index(teams)
    local index = {by_id = {}, plain = {}}
    for _, team in ipairs(teams) do
        for _, key in ipairs(team.keys) do
            local entry = entry_of(bytes(key.salt), bytes(key.hash), {team = team, key = key})
            if not entry then
                error("a key of team " .. team.name .. " has no hash of 32 bytes or no salt of 8 to 64")
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
    -- As nearly all send it, which is found out at a tenth of the cost.
    if type(authorization) == "string" then
        key = authorization:match("^[Bb]earer ([!-~]+)$")
        if key then
            return #key <= MOST_BYTES and key or nil
        end
    end
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
    return #key <= MOST_BYTES and key:find("^[!-~]+$") and key or nil
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
    local key_ends, team_ends = found.key.not_after, found.team.not_after
    if key_ends and now >= key_ends or team_ends and now >= team_ends then
        return nil
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
