package experiment
import ("testing";"os";"github.com/stretchr/testify/require")
func TestPNG(t *testing.T){
	text,_:=os.ReadFile(os.Getenv("EXP_FILE"))
	s,err:=Parse("x",text); require.NoError(t,err)
	d:=os.Getenv("EXP_DIR")
	_,err=s.Report(d,"cmd"); require.NoError(t,err)
	raw,_:=os.ReadFile(d+"/results.jsonl")
	dg,_:=s.digest()
	res,err:=s.parseResults("x",raw,dg); require.NoError(t,err)
	r:=&report{spec:s,dir:d,results:res,after:[]int64{0,1,2,5,10,20}}
	require.NoError(t,r.plotReturns(0,"a.png"))
	_,err=r.plotDistribution(0,"b.png","Adam's mean and the first gradient: cartpole","cosine",cosineOf,false); require.NoError(t,err)
	_,err=r.plotDistribution(0,"c.png","First optimizer step after an exploit: cartpole","length in weight space",firstStepOf,true); require.NoError(t,err)
	if s.Runs { require.NoError(t,r.plotCurves(0,"d.png")) }
	raw2,_:=os.ReadFile(d+"/report.md"); _ = raw2
}
