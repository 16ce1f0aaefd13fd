#include "page/style.h"

/* What charts need, in a page and in a file of its own. */
static const char colours[] =
    ":root{--ink:#1c2024;--soft:#5b6470;--rule:#e3e6ea;--edge:#b6bdc6;--paper:#fff;--card:#fff;--wash:#f5f6f8;"
    "--good:#00795a;--warn:#9a5b00;--bad:#b03a00;--grey:#98a1ac;"
    "--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#b4608f;--c4:#c98a00;--c5:#3a9bd0;--c6:#1c2024}\n"
    "@media "
    "(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#9aa4b0;--rule:#2c3138;--edge:#4a525c;--paper:#14171a;"
    "--card:#1a1e22;--wash:#20252a;--good:#3fc79a;--warn:#f0b440;--bad:#ff8a50;--grey:#6d7783;"
    "--c0:#4aa8e0;--c1:#ff8b3d;--c2:#2fc298;--c3:#dd94bb;--c4:#e6b23a;--c5:#8fd0f5;--c6:#e6e8eb}}\n";
static const char lines[] =
    ".c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.c5{--c:var(--c5)}"
    ".c6{--c:var(--c6)}\n"
    ".d1{stroke-dasharray:7 4}.d2{stroke-dasharray:2 4}.d3{stroke-dasharray:9 3 2 3}\n"
    ".line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}"
    ".d1.line,.d2.line,.d3.line{stroke-linecap:butt}"
    ".raw{fill:none;stroke:var(--c);stroke-width:1;stroke-opacity:.3;stroke-linejoin:round;stroke-linecap:round;"
    "stroke-dasharray:none}\n"
    ".grid,.tick,.axis{fill:none;stroke:var(--rule);stroke-width:1}.tick,.axis{stroke:var(--edge)}"
    ".mark{fill:none;stroke:var(--soft);stroke-width:1.2;stroke-dasharray:2 3}"
    ".cross{fill:none;stroke:var(--c);stroke-width:1.8}"
    ".dot{fill:var(--c);stroke:var(--card);stroke-width:1;stroke-dasharray:none}"
    ".dot.hollow{fill:var(--card);stroke:var(--c);stroke-width:2}"
    ".grey{--c:var(--grey)}circle.dot{fill-opacity:.78}"
    ".front{fill:none;stroke:var(--c0);stroke-width:1.5;stroke-opacity:.55}"
    ".bar{fill:none;stroke:var(--c);stroke-width:1.4;stroke-dasharray:none}\n"
    "svg text{fill:var(--soft);font:12px system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica "
    "Neue\",Arial,sans-serif;"
    "font-variant-numeric:tabular-nums}.end{text-anchor:end}.mid{text-anchor:middle}svg "
    ".number{paint-order:stroke;stroke:var(--paper);stroke-width:3px}svg .strong{fill:var(--ink)}svg "
    ".title{font-size:18px;font-weight:600}\n";
static const char page[] =
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,"
    "\"Helvetica Neue\",Arial,sans-serif;font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%}\n"
    "main{max-width:1120px;margin:0 auto;padding:34px 24px 60px}"
    "h1{font-size:28px;line-height:1.2;margin:0;font-weight:650;letter-spacing:-.01em;overflow-wrap:anywhere}"
    "h2{font-size:18px;margin:44px 0 12px;font-weight:650}"
    "p{margin:0 0 10px;max-width:78ch}.sub{color:var(--soft);margin:6px 0 0;overflow-wrap:anywhere}"
    ".note,.none{color:var(--soft);font-size:13px;margin:6px 0 0}\n"
    ".state{display:inline-block;font-size:13px;font-weight:600;padding:2px 10px;border-radius:14px;"
    "border:1px solid currentColor;margin:12px 0 0}.state.good{color:var(--good)}.state.warn{color:var(--warn)}"
    ".state.bad,.bad{color:var(--bad)}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(168px,1fr));background:var(--card);"
    "border:1px solid var(--rule);border-radius:10px;overflow:hidden;margin:22px 0 0}"
    ".tile{padding:13px 16px;box-shadow:0 0 0 .5px var(--rule)}.tile "
    "small{display:block;color:var(--soft);font-size:13px}"
    ".tile b{display:block;font-size:23px;line-height:1.3;font-weight:620;letter-spacing:-.01em;white-space:nowrap}\n"
    ".warnings{border-left:3px solid var(--warn);background:var(--wash);padding:10px 16px;margin:22px 0 0;"
    "border-radius:0 8px 8px 0}.warnings ul{margin:0;padding-left:18px}.warnings li{overflow-wrap:anywhere}"
    ".warnings b{color:var(--warn)}\n"
    ".figs{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:26px 28px}"
    ".figs>div{min-width:0}.fig{margin:0;min-width:0;position:relative}.fig.all{grid-column:1/-1}"
    "figcaption{font-weight:600;font-size:14px;margin:0 0 2px}figcaption i{font-weight:400;color:var(--soft)}"
    ".keys{display:flex;flex-wrap:wrap;gap:0 16px;font-size:13px;color:var(--soft);margin:0 0 4px}"
    ".key svg{vertical-align:-1px;margin-right:5px}.key "
    "b{color:var(--ink);font-weight:600}.key{overflow-wrap:anywhere}\n"
    ".slender{display:none!important}.chart{display:block;width:100%;height:auto;overflow:visible;touch-action:pan-y}"
    ".cursor{stroke:var(--edge);stroke-width:1}"
    "#tip{position:absolute;pointer-events:none;background:var(--card);color:var(--ink);border:1px solid var(--edge);"
    "border-radius:6px;padding:5px 9px;font-size:12.5px;line-height:1.4;white-space:pre;z-index:9;"
    "box-shadow:0 2px 10px rgba(0,0,0,.13)}\n"
    ".scroll{overflow-x:auto;max-width:100%}"
    "table{border-collapse:collapse;font-size:14px;width:100%}"
    "th,td{text-align:left;padding:5px 14px 5px 0;border-bottom:1px solid var(--rule);vertical-align:top}"
    "th{font-weight:600;color:var(--soft);font-size:13px;white-space:nowrap}td.n,th.n{text-align:right;white-space:"
    "nowrap}"
    "td.n:last-child,th.n:last-child{padding-right:2px}td.w{overflow-wrap:anywhere}tbody th{color:var(--ink);"
    "font-weight:500;font-size:14px}.best{font-weight:700}.off "
    "td{color:var(--soft)}td.v{white-space:nowrap}.on{color:var(--c0)}\n"
    "table.facts,table.slim{max-width:820px}table.facts th{width:11em;white-space:normal;color:var(--soft)}"
    "code,pre{font:13px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans Mono\",monospace}"
    "code{overflow-wrap:anywhere}pre{background:var(--wash);padding:14px;border-radius:8px;overflow-x:auto;margin:10px "
    "0}"
    "details{margin:14px 0 0}summary{cursor:pointer;color:var(--soft)}\n"
    ".meter{display:inline-block;width:90px;height:9px;background:var(--wash);vertical-align:0;border-radius:2px;"
    "overflow:hidden}.meter i{display:block;height:100%;background:var(--c0)}\n"
    ".arena{background:#fff;border:1px solid var(--rule);border-radius:8px;overflow-x:auto}"
    ".arena svg{display:block;width:100%;min-width:900px;height:auto}.arena svg "
    "text{font:revert-layer;fill:revert-layer}\n"
    ".shots{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));gap:14px}.shots.w{grid-template-"
    "columns:"
    "repeat(auto-fill,minmax(420px,1fr))}.shots figure{margin:0;min-width:0}"
    ".shots img{display:block;width:100%;height:auto;border-radius:4px;background:var(--wash)}"
    ".shots figcaption{font-weight:400;font-size:13px;color:var(--soft);overflow-wrap:anywhere;margin-top:3px}\n"
    "footer{margin-top:54px;padding-top:12px;border-top:1px solid var(--rule);color:var(--soft);font-size:13px}\n"
    "@media screen and (max-width:720px){main{padding:22px 14px "
    "40px}h1{font-size:23px}h2{font-size:17px;margin-top:34px}"
    ".figs,.shots,.shots.w{grid-template-columns:minmax(0,1fr)}.chart text{font-size:15px}"
    ".broad{display:none!important}.slender{display:block!important}"
    ".tiles{grid-template-columns:repeat(2,minmax(0,1fr))}.tile{padding:10px 12px}.tile b{font-size:19px}"
    "table,tbody th{font-size:13px}th,td{padding-right:10px}.scroll td.w{min-width:16em}table.facts "
    "th{width:8em}.meter{width:50px}}\n"
    "@media print{:root{--ink:#000;--soft:#444;--rule:#ccc;--edge:#888;--paper:#fff;--card:#fff;--wash:#f3f3f3;"
    "--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#b4608f;--c4:#c98a00;--c5:#3a9bd0;--c6:#000}"
    "main{max-width:none;padding:0}.fig,.shots figure,tr,.tiles,.arena{break-inside:avoid}h2{break-after:avoid}"
    ".arena{overflow:visible}.arena svg{min-width:0}.scroll{overflow:visible}th,td{padding-right:8px}table,tbody "
    "th{font-size:11px}body{font-size:12px}"
    "#tip{display:none}}\n";

void dram_style_page(dram_str *out)
{
    dram_str_add(out, "%s%s%s", colours, lines, page);
}

void dram_style_picture(dram_str *out)
{
    dram_str_add(out, "%s%s", colours, lines);
}

/* Without "<" and "&", so that the page is also XML. */
static const char script[] =
    "\"use strict\";(function(){\n"
    "var tip=document.createElement('div');tip.id='tip';tip.hidden=true;document.body.appendChild(tip);\n"
    "function show(v,unit){\n"
    " if(unit==='percent')return (100*v).toFixed(2)+' %';\n"
    " if(unit==='seconds')return v>=7200?(v/3600).toFixed(2)+' h':v>=120?(v/60).toFixed(1)+' min':v.toFixed(1)+' s';\n"
    " if(unit!=='bytes')return String(+v.toPrecision(6));\n"
    " var u=['B','KiB','MiB','GiB','TiB'],i=0;while(v>=1024?u.length>i+1:false){v/=1024;i++}\n"
    " return v.toFixed(i?2:0)+' '+u[i];}\n"
    "function read(path){return path.dataset.points.split(';').slice(0,-1).map(function(p){\n"
    " return p.split(' ').map(Number)})}\n"
    "function nearest(points,x){var low=0,high=points.length-1;\n"
    " while(high-low>1){var mid=(low+high)/2|0;if(points[mid][0]>x)high=mid;else low=mid}\n"
    " return Math.abs(points[low][0]-x)>Math.abs(points[high][0]-x)?points[high]:points[low]}\n"
    "document.querySelectorAll('svg.chart[data-axis]').forEach(function(svg){\n"
    " var a=svg.dataset.axis.split(' ').map(Number),series=null,cursor=null;\n"
    " function hide(){tip.hidden=true;if(cursor){cursor.remove();cursor=null}}\n"
    " svg.addEventListener('pointerleave',hide);\n"
    " svg.addEventListener('pointermove',function(e){\n"
    "  series=series||Array.from(svg.querySelectorAll('[data-points]')).map(function(p){\n"
    "   return {name:p.dataset.name,points:read(p)}}).filter(function(s){return s.points.length});\n"
    "  var box=svg.getBoundingClientRect(),at=(e.clientX-box.left)*svg.viewBox.baseVal.width/box.width;\n"
    "  if(a[2]-4>at||at>a[2]+a[3]+4||!series.length)return hide();\n"
    "  var x=a[0]+(a[1]-a[0])*(at-a[2])/a[3],first=null,text='';\n"
    "  series.forEach(function(s){var p=nearest(s.points,x);\n"
    "   if(first===null||Math.abs(first-x)>Math.abs(p[0]-x))first=p[0];\n"
    "   text+='\\n'+s.name+'  '+show(p[1],svg.dataset.y)});\n"
    "  tip.textContent=svg.dataset.of+' '+show(first,svg.dataset.x)+text;\n"
    "  if(!cursor){cursor=document.createElementNS('http://www.w3.org/2000/svg','path');\n"
    "   cursor.setAttribute('class','cursor');svg.appendChild(cursor)}\n"
    "  var line=a[1]>a[0]?a[2]+a[3]*(first-a[0])/(a[1]-a[0]):a[2];\n"
    "  cursor.setAttribute('d','M'+line+' '+a[4]+'v'+a[5]);tip.hidden=false;\n"
    "  var "
    "left=e.pageX+14;if(left+tip.offsetWidth>document.documentElement.clientWidth)left=e.pageX-14-tip.offsetWidth;\n"
    "  tip.style.left=Math.max(0,left)+'px';tip.style.top=(e.pageY+12)+'px'})})})();\n";

void dram_style_script(dram_str *out)
{
    dram_str_add(out, "%s", script);
}

void dram_style_marker(int style, double x, double y, double size, const char *classes, dram_str *out)
{
    double r = size / 2;
    dram_str_add(out, "<path class=\"dot c%d %s\" d=\"", style % DRAM_STYLE_COLOURS, classes);
    switch (style % 4) {
    case 0:
        dram_str_add(out, "M%.1f %.1fa%.2f %.2f 0 1 0 %.2f 0a%.2f %.2f 0 1 0 %.2f 0z", x - r, y, r, r, 2 * r, r, r,
                     -2 * r);
        break;
    case 1:
        dram_str_add(out, "M%.1f %.1fh%.2fv%.2fh%.2fz", x - 0.89 * r, y - 0.89 * r, 1.78 * r, 1.78 * r, -1.78 * r);
        break;
    case 2:
        dram_str_add(out, "M%.1f %.1fl%.2f %.2fh%.2fz", x, y - 1.25 * r, 1.25 * r, 2.05 * r, -2.5 * r);
        break;
    default:
        dram_str_add(out, "M%.1f %.1fl%.2f %.2fl%.2f %.2fl%.2f %.2fz", x, y - 1.25 * r, 1.25 * r, 1.25 * r, -1.25 * r,
                     1.25 * r, -1.25 * r, -1.25 * r);
    }
    dram_str_add(out, "\"><title>");
}

void dram_style_marker_end(dram_str *out)
{
    dram_str_add(out, "</title></path>\n");
}
