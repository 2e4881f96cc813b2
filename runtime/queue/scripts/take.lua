-- Takes from the two buckets of a tenant, from both or from none. The clock is Redis's own.
-- KEYS[1]: a hash with what is left (r, c) and when that was (at, in milliseconds).
-- ARGV: for each bucket, requests and cost, what flows in per second, what fits, and how much is taken; 0 fit: no limit.
-- Then 1 when it is owed already: taken as far as it is there.
-- Answers: which bucket lacks (0 none, 1 requests, 2 cost), and in how many milliseconds it will have enough.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local kept = redis.call('HMGET', KEYS[1], 'r', 'c', 'at')
local passed = math.max(0, now - (tonumber(kept[3]) or now)) / 1000
local left, lacks, wait, keep = {0, 0}, 0, 0, 0
for i = 1, 2 do
  local flow, fits, take = tonumber(ARGV[i * 3 - 2]), tonumber(ARGV[i * 3 - 1]), tonumber(ARGV[i * 3])
  if fits > 0 then
    left[i] = math.min(fits, (tonumber(kept[i]) or fits) + passed * flow)
    -- What is dearer than the bucket holds takes a full one.
    take = math.min(take, fits)
    if left[i] < take and (take - left[i]) / flow > wait then
      lacks, wait = i, (take - left[i]) / flow
    end
    keep = math.max(keep, fits / flow)
  end
end
if lacks == 0 or ARGV[7] == '1' then
  for i = 1, 2 do
    left[i] = math.max(0, left[i] - math.min(tonumber(ARGV[i * 3]), tonumber(ARGV[i * 3 - 1])))
  end
end
redis.call('HSET', KEYS[1], 'r', left[1], 'c', left[2], 'at', now)
redis.call('PEXPIRE', KEYS[1], math.ceil(keep * 1000) + 1000)
return {lacks, math.ceil(wait * 1000)}
