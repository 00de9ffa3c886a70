$h = hash_create;
hash_set $h "k" ["x","y"];
($p, $q, $r) = $h["k"];
if isset $h "nokey" { ec_action 250 "there"; }
ec_action 250 "${p}${q}<${r}>";
