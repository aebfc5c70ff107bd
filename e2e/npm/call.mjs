// Calls a tool with the client of the TypeScript SDK: node call.mjs URL TOOL ARGUMENTS, with an access token in TOKEN.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [url, name, args] = process.argv.slice(2);
const client = new Client({ name: 'e2e', version: '1' });
await client.connect(new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { Authorization: `Bearer ${process.env.TOKEN}` } },
}));
const { tools } = await client.listTools();
const said = await client.callTool({ name, arguments: JSON.parse(args) }).catch((error) => ({ error: error.message }));
console.log(JSON.stringify({ tools: tools.map((tool) => tool.name), said }));
await client.close();
