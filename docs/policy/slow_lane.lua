-- All nodes together take two transactions each two seconds from senders of bulk.example; who is third waits.
-- Reads and writes: shared_named_throttles (needs Replicate "shared_named_throttles").
require("msys.core")
require("msys.shared_throttle")

local mod = {}

function mod:validate_mailfrom(sender, accept, vctx)
  if vctx:get(msys.core.VCTX_MESS, "mailfrom_domain") == "bulk.example" then
    msys.shared_throttle.create("lane:bulk.example", "2/2")
    -- The script stops here, and no thread with it, until the fleet has a unit for this session.
    msys.shared_throttle.tarpit("lane:bulk.example")
  end
  return msys.core.VALIDATE_CONT
end

msys.registerModule("slow_lane", mod)
