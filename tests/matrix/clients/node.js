// Node's dns module (c-ares). Reads "TYPE NAME ADDRESS" lines, prints "MS OUTCOME" lines; see Outcome::read.
const { Resolver } = require('node:dns').promises;
const lines = require('node:fs').readFileSync(0, 'utf8').trim().split('\n');

async function ask(type, name) {
  const resolver = new Resolver();
  switch (type) {
    case 'A': return resolver.resolve4(name);
    case 'AAAA': return resolver.resolve6(name);
    case 'CNAME': return resolver.resolveCname(name);
    case 'PTR': return resolver.resolvePtr(name);
    case 'NS': return resolver.resolveNs(name);
    case 'MX': return (await resolver.resolveMx(name)).map((m) => `${m.priority} ${m.exchange}`);
    case 'SRV': return (await resolver.resolveSrv(name)).map((s) => `${s.priority} ${s.weight} ${s.port} ${s.name}`);
    case 'TXT': return (await resolver.resolveTxt(name)).map((strings) => strings.join(''));
    default: return null;
  }
}

(async () => {
  for (const line of lines) {
    const [type, name] = line.split(' ');
    const begun = Date.now();
    let out;
    try {
      const found = await ask(type, name);
      out = found === null ? 'notasked' : `data ${found.join('|')}`;
    } catch (error) {
      const known = { ENOTFOUND: 'noname', ENODATA: 'nodata' };
      out = known[error.code] || `failure ${error.code}`;
    }
    console.log(`${Date.now() - begun} ${out}`);
  }
})();
