import type { ServerResponse } from 'node:http';
import { defineConfig, type Plugin } from 'vite';
import { answerOf } from './test/fixture.ts';

// While the page is worked on (`npm run dev`), /status answers with a made-up gateway. /status?scene=NAME in
// the page's own address chooses another: see test/fixture.ts.
function fixture(): Plugin {
  return {
    name: 'fixture',
    configureServer(server) {
      server.middlewares.use('/status', (request, response: ServerResponse) => {
        const scene = new URL(request.headers.referer ?? 'http://localhost').searchParams.get('scene') ?? 'well';
        response.setHeader('Content-Type', 'application/json');
        response.end(JSON.stringify(answerOf(scene, new Date())));
      });
    },
  };
}

export default defineConfig({
  base: '/',
  plugins: [fixture()],
  build: {
    target: 'es2022',
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    // The server knows these names, and ETags stand for their content.
    rolldownOptions: {
      output: {
        entryFileNames: 'page.js',
        assetFileNames: 'page.[ext]',
        codeSplitting: false,
      },
    },
  },
});
