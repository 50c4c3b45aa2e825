-- wrk: POST a task with an Idempotency-Key of its own per request.
-- Arguments: a prefix that makes the keys unique, the body, the mean pause before each request of a connection in ms,
-- after how many answers to stop (0: never).

local counter, answers = 0, 0
local head, tail

function init(args)
  local prefix, body, pause, limit = args[1], args[2], tonumber(args[3]), tonumber(args[4])
  head = "POST " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port .. "\r\nIdempotency-Key: " .. prefix
  tail = "\r\nContent-Type: application/json\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
  if pause > 0 then
    math.randomseed(1)
    -- Uniform up to twice the mean: many connections together come close to random arrivals.
    delay = function() return math.floor(math.random() * 2 * pause + 0.5) end
  end
  if limit > 0 then
    response = function()
      answers = answers + 1
      if answers == limit then wrk.thread:stop() end
    end
  end
end

function request()
  counter = counter + 1
  return head .. counter .. tail
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "duration_s": %f, "failed": %d, "p50_ms": %f, "p99_ms": %f}\n',
    summary.requests, summary.duration / 1e6, errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
