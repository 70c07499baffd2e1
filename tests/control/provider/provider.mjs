// A certified OpenID Connect provider on a free loopback port. Anybody may log in; whoever they say they are, `people`
// tells their claims. It says its port on a line of its own, and ends when its stdin does.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const { client, redirect, people } = JSON.parse(process.argv[2]);
const server = createServer();

server.listen(0, "127.0.0.1", () => {
  const { port } = server.address();
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [
      {
        client_id: client.id,
        ...(client.secret ? { client_secret: client.secret } : { token_endpoint_auth_method: "none" }),
        redirect_uris: [redirect],
        response_types: ["code"],
        grant_types: ["authorization_code"],
      },
    ],
    claims: { openid: ["sub"], email: ["email"], profile: ["name"], groups: ["groups"] },
    scopes: ["openid"],
    pkce: { required: () => true },
    conformIdTokenClaims: client.id !== "all-in-the-token",
    features: { devInteractions: { enabled: true } },
    findAccount: (_context, sub) => ({ accountId: sub, claims: () => ({ sub, ...people[sub] }) }),
  });
  server.on("request", provider.callback());
  console.log(port);
});
process.stdin.on("end", () => process.exit(0)).resume();
