-- What the front passes on: the paths, the family of the API that each belongs to, and the fields that a request of it may
-- have.
--
-- A field that is not here is refused: the engines pass unknown ones on to places where nobody expects them, and LiteLLM
-- obeys some that belong to whoever runs it (api_base, timeout, fallbacks, user_config …). The lists are those of OpenAI's and
-- Anthropic's references and of vLLM's own additions (https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html).

local M = {}

local function set(...)
    local found = {}
    for _, words in ipairs({...}) do
        for word in words:gmatch("%S+") do
            found[word] = true
        end
    end
    return found
end

local SAMPLING = [[
    frequency_penalty presence_penalty repetition_penalty logit_bias max_tokens min_tokens n seed stop stream stream_options
    temperature top_p top_k min_p length_penalty stop_token_ids include_stop_str_in_output ignore_eos skip_special_tokens
    spaces_between_special_tokens bad_words allowed_token_ids prompt_logprobs truncate_prompt_tokens use_beam_search
    structured_outputs guided_json guided_regex guided_choice guided_grammar response_format priority
    return_tokens_as_token_ids return_token_ids user model safety_identifier logprobs cache_salt
]]
local CHAT = [[
    messages tools tool_choice parallel_tool_calls functions function_call top_logprobs max_completion_tokens echo
    add_generation_prompt continue_final_message add_special_tokens documents chat_template_kwargs reasoning_effort
    include_reasoning mm_processor_kwargs metadata modalities audio prediction service_tier store verbosity web_search_options
    thinking prompt_cache_key prompt_cache_options prompt_cache_retention
]]

local FAMILIES = {
    chat = set(SAMPLING, CHAT),
    completions = set(SAMPLING, "prompt prompt_embeds suffix echo best_of add_special_tokens"),
    embeddings = set([[model input encoding_format dimensions user truncate_prompt_tokens add_special_tokens messages
        normalize embed_dtype endianness priority chat_template_kwargs]]),
    rerank = set([[model query documents top_n return_documents truncate_prompt_tokens max_tokens_per_doc
        max_chunks_per_doc rank_fields user priority]]),
    responses = set([[model input instructions max_output_tokens max_tool_calls metadata parallel_tool_calls reasoning
        service_tier store stream stream_options temperature text tool_choice tools top_logprobs top_p truncation user include
        previous_response_id prompt_cache_key prompt_cache_options prompt_cache_retention safety_identifier background prompt
        verbosity frequency_penalty presence_penalty top_k seed stop client_metadata]]),
    messages = set([[model max_tokens messages metadata stop_sequences stream system temperature thinking tool_choice tools
        top_k top_p service_tier container context_management mcp_servers output_config output_format betas cache_control speed
        diagnostics]]),
    tokenize = set([[model prompt messages add_special_tokens add_generation_prompt continue_final_message return_token_strs
        tokens chat_template_kwargs tools]]),
    transcriptions = {},
}

-- What only the makers' own services do is left out, where a caller would rely on it (moderation, conversation, inference_geo);
-- hints that change no answer (prompt_cache_key, speed) pass. tests/integration/test_client_fields.py knows all of them.
-- chat_template is left out: a template is a program that runs in the engine.

local PATHS = {
    ["/v1/chat/completions"] = "chat",
    ["/v1/completions"] = "completions",
    ["/v1/embeddings"] = "embeddings",
    ["/v1/rerank"] = "rerank",
    ["/rerank"] = "rerank",
    ["/v1/responses"] = "responses",
    ["/v1/messages"] = "messages",
    ["/v1/messages/count_tokens"] = "messages",
    ["/v1/audio/transcriptions"] = "transcriptions",
    ["/tokenize"] = "tokenize",
    ["/detokenize"] = "tokenize",
}

-- What a model is for, and the families that it serves.
local TASKS = {
    chat = set("chat completions responses messages tokenize"), completion = set("completions tokenize"),
    embedding = set("embeddings tokenize"), rerank = set("rerank tokenize"), transcription = set("transcriptions"),
}

function M.known(task)
    return TASKS[task] ~= nil
end

-- Whether a model of a task serves a family.
function M.serves(task, family)
    return TASKS[task][family] == true
end

-- Azure's clients name the model in the path.
local AZURE = "^/openai/deployments/([^/]+)/(.+)$"

-- What a path is.
--
-- Returns a table, or nil for a path that is not served: path (as the backends know it), family, listing (true for the list
-- of models), and model (that the path itself names, or nil).
function M.find(uri)
    if uri == "/v1/models" or uri:sub(1, 11) == "/v1/models/" then
        return {path = uri, listing = true, model = uri:sub(12)}
    end
    local model, rest = uri:match(AZURE)
    if model then
        local family = PATHS["/v1/" .. rest]
        return family and family ~= "transcriptions" and {path = "/v1/" .. rest, family = family, model = model} or nil
    end
    local path = uri:match("^/openai(/v1/.+)$") or uri
    local family = PATHS[path]
    return family and {path = path, family = family} or nil
end

-- Whether requests of a family may have a field; extra: the site's own, by path.
function M.allows(family, field, path, extra)
    if FAMILIES[family][field] then
        return true
    end
    for _, one in ipairs(extra and extra[path] or {}) do
        if one == field then
            return true
        end
    end
    return false
end

-- Parameters of a query that clients add by habit and that change nothing. A key is never among them: it would be logged.
local HARMLESS = {["api-version"] = true, beta = true}

-- Whether a query string is harmless.
function M.harmless(args)
    for part in (args or ""):gmatch("[^&]+") do
        local name = part:match("^([^=]*)")
        if not HARMLESS[name] or not part:match("^[%w=._-]*$") then
            return false
        end
    end
    return true
end

return M
