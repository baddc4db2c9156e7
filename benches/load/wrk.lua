-- Sends one request again and again, each time with the next of many tokens. Arguments: the case (a Lua table in a file)
-- and, for light load, the pause of each connection before a request, in milliseconds.
local case, head, tail, tokens
local at = 0

function init(args)
  case = dofile(args[1])
  tokens = case.tokens
  wrk.method = case.method
  wrk.path = case.path
  for name, value in pairs(case.headers) do
    wrk.headers[name] = value
  end
  if #tokens > 0 then
    local mark = tokens[1]
    local whole = wrk.format(nil, nil, nil, case.body)
    local first, last = whole:find(mark, 1, true)
    head, tail = whole:sub(1, first - 1), whole:sub(last + 1)
  else
    head = wrk.format(nil, nil, nil, case.body)
  end
  if args[2] then
    local pause = tonumber(args[2])
    function delay()
      return pause
    end
  end
end

function request()
  if #tokens == 0 then
    return head
  end
  -- A prime, so that every token comes once before any comes twice and neighbours are far apart.
  at = (at + 39119) % #tokens
  return head .. tokens[at + 1] .. tail
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"failed":%d,"p50":%d,"p99":%d}\n',
    summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
