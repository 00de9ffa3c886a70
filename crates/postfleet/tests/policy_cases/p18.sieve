$said = "";
if ec_test :value "ge" :comparator "i;ascii-numeric" "12 items" "12" { $said = "${said}a"; }
if ec_test :value "gt" :comparator "i;ascii-numeric" "9" "10" { $said = "${said}b"; }
if ec_test :value "gt" :comparator "i;ascii-numeric" "" "10" { $said = "${said}c"; }
if ec_test :value "gt" :comparator "i;ascii-numeric" "55.54" "55" { $said = "${said}d"; }
if ec_test :is "Spam" "spam" { $said = "${said}e"; }
if ec_test :is :comparator "i;ascii-casemap" "Spam" "spam" { $said = "${said}f"; }
if ec_test "${said}" :is "adf" { ec_action 250 "as documented"; }
ec_action 250 "${said}";
