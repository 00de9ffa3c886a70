-- At most ten connections of a /24 (IPv6: a /64) at the same time, whichever nodes they come to.
-- Reads: inbound_cidr (needs Replicate "inbound_cidr").
require("msys.core")
require("msys.audit")
require("msys.extended.ac")

local LIMIT = 10

local mod = {}

function mod:validate_connect(accept, vctx)
  local block = string.find(msys.expandMacro("%{spfv1:v}"), "ip6") and "/64" or "/24"
  -- This connection is counted already.
  local open = accept:inbound_session_count(block, "inbound_cidr")
  if open > LIMIT then
    vctx:disconnect(421, "4.7.0 too many connections from your network")
    return msys.core.VALIDATE_DONE
  end
  return msys.core.VALIDATE_CONT
end

msys.registerModule("block_limit", mod)
