-- What wrk sends: requests of one kind, each with an identifier that is made from its number, so that a run needs no
-- list. SCENARIO says which kind, BASE where the numbers start, THREADS how many threads count them.
local scenario = os.getenv("SCENARIO")
local base = tonumber(os.getenv("BASE"))
local threads = tonumber(os.getenv("THREADS"))

local function words(name)
  local found = {}
  for word in os.getenv(name):gmatch("%S+") do found[#found + 1] = word end
  return found
end
-- The n-th customer is of the n-th key's app, counted round and round.
local client_keys, client_secrets = words("CLIENT_KEYS"), words("CLIENT_SECRETS")

local made = 0
function setup(thread)
  thread:set("number", made)
  made = made + 1
end

local function identifier(prefix, n)
  return string.format("%s-0000-4000-8000-%012d", prefix, n)
end

local function headers(n, idempotency_key)
  local i = n % #client_keys + 1
  return {
    ["x-client-key"] = client_keys[i],
    ["x-client-secret"] = client_secrets[i],
    ["idempotency-key"] = idempotency_key,
  }
end

local function delete(n, id, key)
  return wrk.format("DELETE", "/api/v0/customers/" .. id, headers(n, key))
end

local function get(path)
  return wrk.format("GET", path, headers(0))
end

local n = 0
local function next_number()
  n = n + 1
  return base + (n - 1) * threads + number
end

local population = tonumber(os.getenv("POPULATION") or "1")
local kinds = {
  delete = function() local i = next_number(); return delete(i, identifier("bec00000", i), identifier("bed00000", i)) end,
  refused = function() local i = next_number(); return delete(i, identifier("bef00000", i % population + 1), identifier("bed00000", i)) end,
  missing = function() local i = next_number(); return delete(i, identifier("beb00000", i), identifier("bed00000", i)) end,
  replay = function() local i = next_number() % 64 + 1; return delete(0, identifier("bea00000", i), identifier("bea10000", i)) end,
  read = function() return get("/api/v0/customers/" .. identifier("bef00000", next_number() % population + 1)) end,
  audit = function() return get("/api/v0/audit?customer_id=" .. identifier("bef00000", next_number() % population + 1)) end,
  paths = function() return get(PATHS[next_number() % #PATHS + 1]) end,
}

function init()
  if scenario == "paths" then
    PATHS = {}
    for line in io.lines(os.getenv("PATHS_FILE")) do PATHS[#PATHS + 1] = line end
  end
end

request = kinds[scenario]

-- Microseconds, for the program that reads it.
function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"requests":%d,"seconds":%.6f,"p50":%d,"p99":%d,"max":%d,"non_2xx":%d,"failed":%d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
