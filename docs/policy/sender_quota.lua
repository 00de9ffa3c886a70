-- A domain sends at most 1000 messages a day through all nodes together; the count forgets a domain that was quiet for
-- a day.
-- Reads and writes: the gauge cache "sent" (needs Replicate "metrics" with gauge_cache in its parameters).
require("msys.core")
require("msys.gauge_cache")

local LIMIT = 1000
local DAY = 86400

local mod = {}

function mod:init()
  msys.gauge_cache.define("sent", 100000, DAY, true)
  return true
end

function mod:validate_data(msg, accept, vctx)
  local domain = msg:context_get(msys.core.ECMESS_CTX_MESS, "mailfrom_domain")
  if domain ~= "" and msys.gauge_cache.inc("sent", os.date("!%Y-%m-%d ") .. domain) > LIMIT then
    msys.log("notice", domain .. " has sent its " .. LIMIT .. " messages of today")
    vctx:set_code(452, "4.7.0 quota of today is used up")
    return msys.core.VALIDATE_DONE
  end
  return msys.core.VALIDATE_CONT
end

msys.registerModule("sender_quota", mod)
