"""Answers as the providers send them, byte for byte in form; the words in them are ours.

Forms from: `openai.types.chat` and OpenAI's streaming reference (key order, `obfuscation`), Azure OpenAI issue threads
(keys in alphabetical order, a first chunk without choices, content-filter chunks without `delta`), Groq's, DeepSeek's,
Moonshot's and xAI's API references, `anthropic.types` and Anthropic's streaming reference (`event:` lines, `ping`), and
recorded Gemini responses in google's adk and gemini-cli repositories (`": "` after names, CRLF between events).
`test_samples.py` holds each of them to the SDK's own types.
"""

from __future__ import annotations

from hypothesis import strategies as st

SSE = "text/event-stream; charset=utf-8"
JSON = "application/json"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces, cut at these places (taken modulo its length)."""
    marks = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *marks], [*marks, len(data)], strict=True)]


CUTS = st.lists(st.integers(0, 5000), max_size=12)

_HEAD = (
    b'data: {"id":"chatcmpl-C8vBq2mRw5tYxN0pLkJ7hGfD4sAzE","object":"chat.completion.chunk","created":1757000000,'
    b'"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_8bda4d3a2c",'
)
_NULL = b',"usage":null'

OPENAI_STREAM_ASKED = b"".join(
    (
        _HEAD + b'"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,'
        b'"finish_reason":null}],"usage":null,"obfuscation":"Wq3"}\n\n',
        _HEAD + b'"choices":[{"index":0,"delta":{"content":"The"},"logprobs":null,"finish_reason":null}],"usage":null,'
        b'"obfuscation":"k0"}\n\n',
        _HEAD + b'"choices":[{"index":0,"delta":{"content":" lamp"},"logprobs":null,"finish_reason":null}],'
        b'"usage":null,"obfuscation":""}\n\n',
        _HEAD + b'"choices":[{"index":0,"delta":{"content":" says \\"usage\\":null."},"logprobs":null,'
        b'"finish_reason":null}],"usage":null,"obfuscation":"pT7x"}\n\n',
        _HEAD + b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null,'
        b'"obfuscation":"Zu9w"}\n\n',
        _HEAD + b'"choices":[],"usage":{"prompt_tokens":1117,"completion_tokens":46,"total_tokens":1163,'
        b'"prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},"completion_tokens_details":'
        b'{"reasoning_tokens":20,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},'
        b'"obfuscation":"a"}\n\n',
        b"data: [DONE]\n\n",
    )
)
"""With `include_usage`: 1117 prompt tokens, 1024 of them cached; 46 completion tokens, 20 of them reasoning."""

OPENAI_STREAM_PLAIN = b"".join(
    event + b"\n\n"
    for event in OPENAI_STREAM_ASKED.replace(_NULL, b"").split(b"\n\n")
    if event and b'"choices":[],' not in event
)
"""The same answer without the option."""

OPENAI_TOOL_STREAM = b"".join(
    (
        _HEAD + b'"choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":'
        b'"call_r7Xk","type":"function","function":{"name":"look_up","arguments":""}}],"refusal":null},'
        b'"logprobs":null,"finish_reason":null}]}\n\n',
        _HEAD + b'"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\\"q\\":"}}]},'
        b'"logprobs":null,"finish_reason":null}]}\n\n',
        _HEAD + b'"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\\"tide\\"}"}}]},'
        b'"logprobs":null,"finish_reason":null}]}\n\n',
        _HEAD + b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"}]}\n\n',
        b"data: [DONE]\n\n",
    )
)

AZURE_STREAM_ASKED = b"".join(
    (
        b'data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,'
        b'"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}],"usage":null}\n\n',
        b'data: {"choices":[{"content_filter_results":{},"delta":{"content":"","refusal":null,"role":"assistant"},'
        b'"finish_reason":null,"index":0,"logprobs":null}],"created":1757000100,"id":"chatcmpl-AzQ9",'
        b'"model":"gpt-4o-2024-11-20","object":"chat.completion.chunk","system_fingerprint":"fp_ee1d74bde0",'
        b'"usage":null}\n\n',
        b'data: {"choices":[{"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},"delta":{"content":'
        b'"Low tide"},"finish_reason":null,"index":0,"logprobs":null}],"created":1757000100,"id":"chatcmpl-AzQ9",'
        b'"model":"gpt-4o-2024-11-20","object":"chat.completion.chunk","system_fingerprint":"fp_ee1d74bde0",'
        b'"usage":null}\n\n',
        b'data: {"choices":[{"content_filter_offsets":{"check_offset":44,"start_offset":44,"end_offset":52},'
        b'"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},"finish_reason":null,"index":0}],'
        b'"created":0,"id":"","model":"","object":"","usage":null}\n\n',
        b'data: {"choices":[{"content_filter_results":{},"delta":{},"finish_reason":"stop","index":0,"logprobs":null}],'
        b'"created":1757000100,"id":"chatcmpl-AzQ9","model":"gpt-4o-2024-11-20","object":"chat.completion.chunk",'
        b'"system_fingerprint":"fp_ee1d74bde0","usage":null}\n\n',
        b'data: {"choices":[],"created":1757000100,"id":"chatcmpl-AzQ9","model":"gpt-4o-2024-11-20","object":'
        b'"chat.completion.chunk","system_fingerprint":"fp_ee1d74bde0","usage":{"completion_tokens":3,'
        b'"completion_tokens_details":{"accepted_prediction_tokens":0,"audio_tokens":0,"reasoning_tokens":0,'
        b'"rejected_prediction_tokens":0},"prompt_tokens":14,"prompt_tokens_details":{"audio_tokens":0,'
        b'"cached_tokens":0},"total_tokens":17}}\n\n',
        b"data: [DONE]\n\n",
    )
)
AZURE_STREAM_PLAIN = b"".join(
    event + b"\n\n"
    for event in AZURE_STREAM_ASKED.replace(_NULL, b"").split(b"\n\n")
    if event and b'"usage":{' not in event
)

OPENAI_ANSWER = (
    b'{\n  "id": "chatcmpl-C8vC1",\n  "object": "chat.completion",\n  "created": 1757000200,\n'
    b'  "model": "gpt-4o-mini-2024-07-18",\n  "choices": [\n    {\n      "index": 0,\n      "message": {\n'
    b'        "role": "assistant",\n        "content": "The lamp turns at dusk.",\n        "refusal": null,\n'
    b'        "annotations": []\n      },\n      "logprobs": null,\n      "finish_reason": "stop"\n    }\n  ],\n'
    b'  "usage": {\n    "prompt_tokens": 31,\n    "completion_tokens": 7,\n    "total_tokens": 38,\n'
    b'    "prompt_tokens_details": {\n      "cached_tokens": 0,\n      "audio_tokens": 0\n    },\n'
    b'    "completion_tokens_details": {\n      "reasoning_tokens": 0,\n      "audio_tokens": 0,\n'
    b'      "accepted_prediction_tokens": 0,\n      "rejected_prediction_tokens": 0\n    }\n  },\n'
    b'  "service_tier": "default",\n  "system_fingerprint": "fp_8bda4d3a2c"\n}\n'
)

EMBEDDINGS_ANSWER = (
    b'{\n  "object": "list",\n  "data": [\n    {\n      "object": "embedding",\n      "index": 0,\n'
    b'      "embedding": [\n        0.0023064255,\n        -0.009327292,\n        -0.0028842222\n      ]\n    }\n'
    b'  ],\n  "model": "text-embedding-3-small",\n  "usage": {\n    "prompt_tokens": 8,\n    "total_tokens": 8\n  }\n'
    b"}\n"
)

GROQ_STREAM = (
    b'data: {"id":"chatcmpl-gq1","object":"chat.completion.chunk","created":1757000300,"model":"llama-3.1-8b-instant",'
    b'"system_fingerprint":"fp_510c177af0","choices":[{"index":0,"delta":{"role":"assistant","content":""},'
    b'"logprobs":null,"finish_reason":null}],"x_groq":{"id":"req_01k"}}\n\n'
    b'data: {"id":"chatcmpl-gq1","object":"chat.completion.chunk","created":1757000300,"model":"llama-3.1-8b-instant",'
    b'"system_fingerprint":"fp_510c177af0","choices":[{"index":0,"delta":{"content":"Fog."},"logprobs":null,'
    b'"finish_reason":null}]}\n\n'
    b'data: {"id":"chatcmpl-gq1","object":"chat.completion.chunk","created":1757000300,"model":"llama-3.1-8b-instant",'
    b'"system_fingerprint":"fp_510c177af0","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],'
    b'"x_groq":{"id":"req_01k","usage":{"queue_time":0.05,"prompt_tokens":41,"prompt_time":0.002,'
    b'"completion_tokens":3,"completion_time":0.004,"total_tokens":44,"total_time":0.006}}}\n\n'
    b"data: [DONE]\n\n"
)

MOONSHOT_STREAM = (
    b'data: {"id":"cmpl-ms1","object":"chat.completion.chunk","created":1757000400,"model":"moonshot-v1-8k",'
    b'"choices":[{"index":0,"delta":{"content":"Fog."},"finish_reason":null}]}\n\n'
    b'data: {"id":"cmpl-ms1","object":"chat.completion.chunk","created":1757000400,"model":"moonshot-v1-8k",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":19,"completion_tokens":13,'
    b'"total_tokens":32}}]}\n\n'
    b"data: [DONE]\n\n"
)

XAI_STREAM = (
    b"".join(
        b'data: {"id":"e409","object":"chat.completion.chunk","created":1757000500,"model":"grok-beta","choices":'
        b'[{"index":0,"delta":{"content":"%b","role":"assistant"}%b}],"usage":{"prompt_tokens":38,"completion_tokens":%d,'
        b'"total_tokens":%d,"prompt_tokens_details":{"text_tokens":38,"audio_tokens":0,"image_tokens":0,'
        b'"cached_tokens":0}},"system_fingerprint":"fp_6ca29cf396"}\n\n' % row
        for row in ((b"Fog", b"", 1, 39), (b" and", b"", 2, 40), (b" bells", b',"finish_reason":"stop"', 3, 41))
    )
    + b"data: [DONE]\n\n"
)
"""Cumulative usage with every chunk, asked for or not."""

ANTHROPIC_STREAM = (
    b"event: message_start\n"
    b'data: {"type":"message_start","message":{"model":"claude-sonnet-4-5-20250929","id":"msg_01LightHouse","type":'
    b'"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,'
    b'"cache_creation_input_tokens":300,"cache_read_input_tokens":2000,"cache_creation":'
    b'{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":1,"service_tier":"standard"}}'
    b"         }\n\n"
    b"event: content_block_start\n"
    b'data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}'
    b"     }\n\n"
    b"event: ping\n"
    b'data: {"type": "ping"}\n\n'
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Which lamp?"}  }\n\n'
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQBCgIYAhIM"}}\n\n'
    b"event: content_block_stop\n"
    b'data: {"type":"content_block_stop","index":0 }\n\n'
    b"event: content_block_start\n"
    b'data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}          }\n\n'
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"I will look it up."}}\n\n'
    b"event: content_block_stop\n"
    b'data: {"type":"content_block_stop","index":1  }\n\n'
    b"event: content_block_start\n"
    b'data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_01Fog","name":'
    b'"look_up","input":{}}}\n\n'
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}   }\n\n'
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\\"q\\": '
    b'\\"tide\\"}"}}\n\n'
    b"event: content_block_stop\n"
    b'data: {"type":"content_block_stop","index":2             }\n\n'
    b"event: message_delta\n"
    b'data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":25,'
    b'"cache_creation_input_tokens":300,"cache_read_input_tokens":2000,"output_tokens":89,"output_tokens_details":'
    b'{"thinking_tokens":30}}   }\n\n'
    b"event: message_stop\n"
    b'data: {"type":"message_stop"          }\n\n'
)

ANTHROPIC_ANSWER = (
    b'{"model":"claude-sonnet-4-5-20250929","id":"msg_01Harbour","type":"message","role":"assistant","content":'
    b'[{"type":"text","text":"The lamp turns at dusk."}],"stop_reason":"end_turn","stop_sequence":null,"usage":'
    b'{"input_tokens":14,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":'
    b'{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":12,"service_tier":"standard"}}'
)

ANTHROPIC_ERROR_EVENT = (
    b'event: error\ndata: {"type":"error","error":{"details":null,"type":"overloaded_error","message":"Overloaded"},'
    b'"request_id":"req_011"}\n\n'
)

_GEMINI_PIECES = (
    b'{"candidates": [{"content": {"parts": [{"text": "Counting lamps","thought": true}],"role": "model"},"index": 0}],'
    b'"usageMetadata": {"promptTokenCount": 120,"totalTokenCount": 151,"cachedContentTokenCount": 64,'
    b'"promptTokensDetails": [{"modality": "TEXT","tokenCount": 90},{"modality": "AUDIO","tokenCount": 30}],'
    b'"cacheTokensDetails": [{"modality": "TEXT","tokenCount": 54},{"modality": "AUDIO","tokenCount": 10}],'
    b'"thoughtsTokenCount": 31},"modelVersion": "gemini-2.5-flash","responseId": "kPq2aLmX"}',
    b'{"candidates": [{"content": {"parts": [{"text": "There are [two] {lamps}, \\"old\\" and new."}],"role": "model"},'
    b'"finishReason": "STOP","index": 0}],"usageMetadata": {"promptTokenCount": 120,"candidatesTokenCount": 11,'
    b'"totalTokenCount": 170,"cachedContentTokenCount": 64,"promptTokensDetails": [{"modality": "TEXT","tokenCount": '
    b'90},{"modality": "AUDIO","tokenCount": 30}],"cacheTokensDetails": [{"modality": "TEXT","tokenCount": 54},'
    b'{"modality": "AUDIO","tokenCount": 10}],"toolUsePromptTokenCount": 8,"thoughtsTokenCount": 31},'
    b'"modelVersion": "gemini-2.5-flash","responseId": "kPq2aLmX"}',
)
GEMINI_STREAM = b"".join(b"data: " + piece + b"\r\n\r\n" for piece in _GEMINI_PIECES)
GEMINI_ARRAY = b"[" + b"\n,\r\n".join(_GEMINI_PIECES) + b"\n]\n"
GEMINI_ANSWER = _GEMINI_PIECES[1]
