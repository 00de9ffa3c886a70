-- One function for each case; the sender's local part says which. What it returns is the reply.
require("msys.core") require("msys.audit") require("msys.audit_series") require("msys.gauge_cache")
require("msys.cluster_cache") require("msys.throttle") require("msys.shared_throttle") require("msys.extended.vctx")
local mod = {}

function mod:init()
  msys.audit_series.define("s", "string", 60, 5)
  msys.audit_series.define("v4", "cidr", 60, 5)
  msys.audit_series.define("v6", "cidr_ipv6", 60, 5)
  return true
end

local cases = {
  p05 = function()
    return msys.audit.connections("300,6", { endv = 1 }) .. " " ..
      msys.audit.connections("300,6", { endv = 1, cluster = true })
  end,
  p06 = function() return msys.audit.connections("60,1") end,
  p10 = function()
    msys.audit_series.add("s", { key = "k", count = 5 })
    msys.audit_series.add("s", { key = "k", count = -2 })
    return msys.audit_series.count("s", { key = "k", endv = 1 }) .. " " ..
      tostring(pcall(msys.audit_series.add, "s")) .. " " ..
      select(2, pcall(msys.audit_series.add, "nosuch", "k")):match("audit series.*")
  end,
  p11 = function(accept)
    msys.audit_series.add("v4", accept)
    msys.audit_series.add("v6", accept)
    return msys.audit_series.count("v4", { endv = 1 }) .. " " ..
      msys.audit_series.count("v6", { endv = 1, key = "2001:db8::/64" })
  end,
  p13 = function()
    msys.gauge_cache.define("g", 2, 300)
    for _, key in ipairs({ "k1", "k2", "k1", "k3" }) do msys.gauge_cache.inc("g", key) end
    return msys.gauge_cache.get("g", "k1") .. " " .. msys.gauge_cache.get("g", "k2") .. " " ..
      msys.gauge_cache.get("g", "k3")
  end,
  p15 = function()
    msys.cluster_cache.set("mycache", "lua", "myvalue")
    return msys.cluster_cache.get("mycache", "lua") .. " " ..
      tostring(msys.gauge_cache.get("mycache", "nokey")) .. " " ..
      tostring(pcall(msys.cluster_cache.get, "nosuch", "x"))
  end,
  p16 = function()
    msys.throttle.create("lua", "3/300")
    local checks = {}
    for i = 1, 4 do
      msys.throttle.inc("lua")
      checks[i] = tostring(msys.throttle.check("lua"))
    end
    return table.concat(checks, " ")
  end,
  p21 = function(accept, vctx)
    local before = tostring(vctx:get(msys.core.VCTX_CONN, "a")) .. " " .. tostring(vctx:get(msys.core.VCTX_MESS, "b"))
    vctx:set(msys.core.VCTX_CONN, "a", 1)
    vctx:set(msys.core.VCTX_MESS, "b", 2)
    return before
  end,
  section28 = function(accept, vctx)
    require("msys.db")
    local sum = 0
    for row in msys.db.query("db", "SELECT 1 AS n UNION SELECT 2") do sum = sum + row.n end
    local row = msys.db.fetch_row("db", "SELECT :a AS a", { a = "x" }, { nocache = true })
    local none, why = msys.db.fetch_row("db", "SELECT nonsense FROM nowhere", {}, { raise_error = false })
    return sum .. " " .. row.a .. " " .. tostring(none) .. " " .. type(why)
  end,
}

function mod:validate_mailfrom(sender, accept, vctx)
  local case = cases[sender:match("^(.*)@lua%.example$")]
  if case then
    vctx:set_code("250", case(accept, vctx))
    return msys.core.VALIDATE_DONE
  end
  return msys.core.VALIDATE_CONT
end

function mod:validate_data(msg, accept, vctx)
  -- P25.
  local exists, value = msg:context_exists_and_get(msys.core.ECMESS_CTX_MESS, "none")
  vctx:set_code(250, exists .. " " .. tostring(value) .. " <" .. msg:context_get(msys.core.ECMESS_CTX_MESS, "none") .. ">")
  return msys.core.VALIDATE_CONT
end

msys.registerModule("cases", mod)
