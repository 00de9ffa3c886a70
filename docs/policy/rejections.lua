-- A client that was refused five recipients within ten minutes, by whichever nodes, is turned away at its next
-- connection.
-- Reads and writes: the series "refused" (needs Replicate "metrics" with audit_series in its parameters).
require("msys.core")
require("msys.audit_series")

local LIMIT = 5

local mod = {}

function mod:init()
  msys.audit_series.define("refused", "cidr", 60, 10, { replicate = "cluster" })
  return true
end

function mod:validate_connect(accept, vctx)
  if msys.audit_series.count("refused", { endv = 10 }) >= LIMIT then
    vctx:set_code(554, "5.7.1 too many refused recipients, come back in ten minutes")
    return msys.core.VALIDATE_DONE
  end
  return msys.core.VALIDATE_CONT
end

function mod:validate_rcptto(msg, recipient, accept, vctx)
  if string.find(recipient, "^nobody@") then
    msys.audit_series.add("refused")
    vctx:set_code(550, "5.1.1 no such user")
    return msys.core.VALIDATE_DONE
  end
  return msys.core.VALIDATE_CONT
end

msys.registerModule("rejections", mod)
