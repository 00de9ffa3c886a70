require("msys.core") require("msys.audit") require("msys.cluster_cache") require("msys.extended.ac")
local function decide(vctx)
  local open = msys.audit.inbound_session_count("/24", "inbound_cidr")
  local recent = msys.audit.connections("300,6", { cidr = "/24", cluster = true })
  local known = msys.cluster_cache.get("known", "192.0.2.10")
  if open > 100 or recent > 100000000 or known == "bad" then
    vctx:set_code(421, "4.7.0 too many connections")
    return msys.core.VALIDATE_DONE
  end
  return msys.core.VALIDATE_CONT
end
local mod = {}
function mod:validate_connect(accept, vctx) return decide(vctx) end
function mod:validate_ehlo(str, accept, vctx) return decide(vctx) end
function mod:validate_mailfrom(str, accept, vctx) return decide(vctx) end
function mod:validate_rcptto(msg, str, accept, vctx) return decide(vctx) end
function mod:validate_data(msg, accept, vctx) return decide(vctx) end
function mod:validate_data_spool(msg, accept, vctx) return decide(vctx) end
function mod:validate_data_spool_each_rcpt(msg, accept, vctx) return decide(vctx) end
msys.registerModule("policy", mod)
