-- A client for HTTP/1.1 over nginx' sockets: a request to a backend, and its answer piece by piece.
--
-- Each wait is cut into slices, after which `patience` is asked whether to go on: that is how a request leaves a backend that
-- has fallen silent.

local M = {}

local find, match, sub = string.find, string.match, string.sub
local CONNECT_MS, SEND_MS, SLICE_MS, KEEP_MS, POOL = 3000, 60000, 250, 60000, 256
local MAX_HEAD = 65536

local Answer = {}
Answer.__index = Answer

-- More bytes from the socket; returns nil and the reason when there are none.
function Answer:fill()
    while true do
        local piece, fault, partial = self.sock:receiveany(65536)
        if not piece and partial and #partial > 0 then
            piece = partial
        end
        if piece then
            self.buffer = self.buffer == "" and piece or self.buffer .. piece
            return true
        end
        if fault ~= "timeout" then
            return nil, fault
        end
        local reason = self.patience()
        if reason then
            return nil, reason
        end
    end
end

local function head(answer)
    while true do
        local ends, to = find(answer.buffer, "\r\n\r\n", 1, true)
        if ends then
            local text = sub(answer.buffer, 1, ends - 1)
            answer.buffer = sub(answer.buffer, to + 1)
            return text
        end
        if #answer.buffer > MAX_HEAD then
            return nil, "the head is too long"
        end
        local ok, fault = answer:fill()
        if not ok then
            return nil, fault
        end
    end
end

-- The value of a header of the answer; nil where it has none. name: in small letters.
function Answer:header(name)
    local _, to = find(self.lower_head, "\r\n" .. name .. ":", 1, true)
    return to and match(self.head, "^[ \t]*([^\r\n]*)", to + 1)
end

-- The next piece of the body; nil at its end; nil and a reason when it broke off.
function Answer:next()
    if self.over then
        return nil
    end
    if self.chunked then
        return self:next_chunk()
    end
    if self.left == 0 then
        self.over = true
        return nil
    end
    if self.buffer == "" then
        local ok, fault = self:fill()
        if not ok then
            self.over = true
            if fault == "closed" and not self.left then
                return nil  -- the end of the connection is the end of the body
            end
            return nil, fault
        end
    end
    local piece = self.buffer
    if self.left then
        piece = sub(piece, 1, self.left)
        self.left = self.left - #piece
    end
    self.buffer = sub(self.buffer, #piece + 1)
    return piece
end

-- All whole chunks that have arrived, as one piece.
function Answer:next_chunk()
    local parts = {}
    while true do
        local _, to, size = find(self.buffer, "^(%x+)[^\r\n]*\r\n")
        if to then
            local length = tonumber(size, 16)
            if length == 0 then
                if not find(self.buffer, "\r\n", to + 1, true) and #parts == 0 then
                    local ok, fault = self:fill()
                    if not ok then
                        self.over = true
                        return nil, fault
                    end
                elseif #parts > 0 then
                    return table.concat(parts)
                else
                    self.over, self.clean = true, sub(self.buffer, to + 1) == "\r\n"
                    return nil
                end
            elseif #self.buffer >= to + length + 2 then
                parts[#parts + 1] = sub(self.buffer, to + 1, to + length)
                self.buffer = sub(self.buffer, to + length + 3)
            else
                to = nil
            end
        elseif #self.buffer > 1024 then
            self.over = true
            return nil, "a chunk has no size"
        end
        if not to then
            if #parts > 0 then
                return #parts == 1 and parts[1] or table.concat(parts)
            end
            local ok, fault = self:fill()
            if not ok then
                self.over = true
                return nil, fault
            end
        end
    end
end

-- The whole body, or nil and a reason; limit: bytes.
function Answer:whole(limit)
    local parts, size = {}, 0
    while true do
        local piece, fault = self:next()
        if not piece then
            if fault then
                return nil, fault
            end
            return table.concat(parts)
        end
        size = size + #piece
        if limit and size > limit then
            self:close()
            return nil, "the answer is too long"
        end
        parts[#parts + 1] = piece
    end
end

-- Done with it: the connection is kept where the answer was read to its end.
function Answer:done()
    -- A connection whose body ends with it cannot be kept.
    local read = self.over and (self.chunked and self.clean or self.left and self.buffer == "")
    local kept = read and (self:header("connection") or ""):lower() ~= "close"
    if kept then
        self.sock:setkeepalive(KEEP_MS, POOL)
    else
        self.sock:close()
    end
end

function Answer:close()
    self.sock:close()
end

local function once(peer, question, patience)
    local sock = ngx.socket.tcp()
    sock:settimeouts(CONNECT_MS, SEND_MS, SLICE_MS)
    local ok, fault = sock:connect(peer.address, peer.port)
    if not ok then
        return nil, "connect", fault
    end
    local reused = (sock:getreusedtimes() or 0) > 0
    local answer = setmetatable({sock = sock, buffer = "", patience = patience}, Answer)
    ok, fault = sock:send(question)
    local found
    if ok then
        found, fault = head(answer)
        -- An answer to come: 100 Continue, for instance.
        while found and find(found, "^HTTP/1%.1 1%d%d") do
            found, fault = head(answer)
        end
    end
    if not found then
        sock:close()
        local broken = fault == "closed" or fault == "connection reset by peer" or fault == "broken pipe"
        if reused and broken and answer.buffer == "" then
            return nil, "stale", fault
        end
        return nil, broken and "broken" or "silent", fault
    end
    answer.head, answer.lower_head = found, found:lower()
    answer.status = tonumber(match(found, "^HTTP/1%.[01] (%d%d%d)"))
    if not answer.status then
        sock:close()
        return nil, "broken", "no HTTP"
    end
    local coding = answer:header("transfer-encoding")
    answer.chunked = coding ~= nil and find(coding:lower(), "chunked", 1, true) ~= nil
    answer.left = not answer.chunked and tonumber(answer:header("content-length")) or nil
    if answer.status == 204 or answer.status == 304 then
        answer.left = 0
    end
    return answer
end

-- Ask a peer: {address, port}. request: {method, path, headers (a table), body}. patience(): nil to wait on, or why not.
--
-- Returns an answer with status, header(), next(), whole(), done() and close(); or nil, what went wrong ("connect": it was
-- not reached; "broken": it closed the connection; "silent": patience ended) and its reason.
function M.ask(peer, request, patience)
    local host = find(peer.address, ":", 1, true) and "[" .. peer.address .. "]" or peer.address
    -- The socket takes a list of texts, so none has to be made of them.
    local question = {request.method, " ", request.path, " HTTP/1.1\r\nHost: ", host, ":", peer.port}
    local at = #question
    for name, value in pairs(request.headers) do
        question[at + 1], question[at + 2], question[at + 3], question[at + 4] = "\r\n", name, ": ", value
        at = at + 4
    end
    if request.method ~= "GET" then
        local body = request.body or ""
        question[at + 1], question[at + 2], question[at + 3], question[at + 4] = "\r\nContent-Length: ", #body, "\r\n\r\n", body
    else
        question[at + 1] = "\r\n\r\n"
    end
    -- A connection that was kept may be closed just now: that says nothing about who is there. But who then takes no other
    -- may have ended by this very request.
    for number = 1, 5 do
        local answer, kind, fault = once(peer, question, patience)
        if kind == "connect" and number > 1 then
            return nil, "broken", fault
        elseif kind ~= "stale" then
            return answer, kind, fault
        end
    end
    return nil, "broken", "closed"
end

return M
