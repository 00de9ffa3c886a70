-- Whoever is not known comes again: after a minute or more, within four hours, to any node.
-- Reads and writes: the replicated cache "grey" (needs Replicate "grey" { type = "cache" }).
require("msys.core")
require("msys.cluster_cache")

local DELAY = 60

local mod = {}

function mod:validate_rcptto(msg, recipient, accept, vctx)
  local now = msys.core.get_now_ts()
  local key = msys.expandMacro("%{spfv1:i} ") .. msg:mailfrom() .. " " .. recipient
  local first = msys.cluster_cache.get("grey", key)
  if first == nil then
    msys.cluster_cache.set("grey", key, now, "4H")
    vctx:set_code(451, "4.7.1 come again")
    return msys.core.VALIDATE_DONE
  end
  if first ~= "known" then
    if now < tonumber(first) + DELAY then
      vctx:set_code(451, "4.7.1 not yet")
      return msys.core.VALIDATE_DONE
    end
    msys.cluster_cache.set("grey", key, "known", "840H")
  end
  return msys.core.VALIDATE_CONT
end

msys.registerModule("greylist", mod)
