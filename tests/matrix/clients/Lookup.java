// Java's own look-ups. Reads "TYPE NAME ADDRESS" lines, prints "MS OUTCOME" lines; see Outcome::read.
// usage: java Lookup inetaddress|jndi
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.security.Security;
import java.util.ArrayList;
import java.util.Hashtable;
import java.util.List;
import javax.naming.NameNotFoundException;
import javax.naming.NamingException;
import javax.naming.directory.Attribute;
import javax.naming.directory.InitialDirContext;

public class Lookup {
    static String byInetAddress(String type, String name, String address) throws Exception {
        List<String> found = new ArrayList<>();
        if (type.equals("PTR")) {
            InetAddress one = InetAddress.getByName(address);
            String host = one.getCanonicalHostName();
            return host.equals(one.getHostAddress()) ? "nothing" : "data " + host;
        }
        boolean four = type.equals("A"), six = type.equals("AAAA"), both = type.equals("ADDR");
        if (!four && !six && !both) return "notasked";
        try {
            for (InetAddress one : InetAddress.getAllByName(name)) {
                if (both || four == (one instanceof Inet4Address)) found.add(one.getHostAddress());
            }
        } catch (UnknownHostException e) {
            return String.valueOf(e.getMessage()).contains("Temporary") ? "failure " + e.getMessage() : "nothing";
        }
        return found.isEmpty() ? "nothing" : "data " + String.join("|", found);
    }

    static String byJndi(String type, String name) throws Exception {
        if (!List.of("A", "AAAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT").contains(type)) return "notasked";
        Hashtable<String, String> env = new Hashtable<>();
        env.put("java.naming.factory.initial", "com.sun.jndi.dns.DnsContextFactory");
        env.put("java.naming.provider.url", "dns:");
        try {
            InitialDirContext context = new InitialDirContext(env);
            Attribute found = context.getAttributes(name, new String[] {type}).get(type);
            if (found == null) return "nodata";
            List<String> all = new ArrayList<>();
            for (int n = 0; n < found.size(); n++) {
                String one = found.get(n).toString();
                // Strings of a TXT record come with blanks between them.
                all.add(type.equals("TXT") ? one.replace(" ", "").replace("\"", "") : one);
            }
            return "data " + String.join("|", all);
        } catch (NameNotFoundException e) {
            return "noname";
        } catch (NamingException e) {
            return "failure " + e.getMessage();
        }
    }

    public static void main(String[] args) throws Exception {
        Security.setProperty("networkaddress.cache.ttl", "0");
        Security.setProperty("networkaddress.cache.negative.ttl", "0");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null;) {
            String[] part = line.split(" ");
            long begun = System.nanoTime();
            String out;
            try {
                out = args[0].equals("jndi") ? byJndi(part[0], part[1]) : byInetAddress(part[0], part[1], part[2]);
            } catch (Exception e) {
                out = "failure " + e;
            }
            System.out.println((System.nanoTime() - begun) / 1_000_000 + " " + out.replace('\n', ' '));
        }
    }
}
